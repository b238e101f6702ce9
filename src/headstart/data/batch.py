"""What a data loader gives, and a detector takes and answers: N images at once, without a list of tensors in it.

Padded: what an image has fewer of than another fills up with rows that `present` calls absent, so that nothing that
computes on a batch loops over its images or waits for the device. Lists are made at the edges alone: `Batch.of`,
`Batch.per_image`, `Detections.per_image`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor
from torch.nn import functional

from headstart.data.types import Prediction, Target

if TYPE_CHECKING:
    from headstart.data.augment import Changes


@dataclass(frozen=True)
class Padded:
    """Tensors of N images whose first two axes are (N, rows); `present` (N, rows) bool."""

    present: Tensor

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        return replace(self, **{name: change(tensor) for name, tensor in vars(self).items()})


@dataclass(frozen=True)
class Targets(Padded):
    """Ground truth of N images, in the pixels that the detector sees; absent rows are zeros. As in `Target`."""

    boxes_xyxy: Tensor
    """(N, T, 4) float32."""
    labels: Tensor
    """(N, T) int64."""
    crowd: Tensor
    """(N, T) bool."""
    difficult: Tensor
    """(N, T) bool."""
    area: Tensor
    """(N, T) float32."""

    @property
    def ignore(self) -> Tensor:
        """(N, T) bool: present, and neither to be learnt nor to be found."""
        return self.present & (self.crowd | self.difficult)


@dataclass(frozen=True)
class Detections(Padded):
    """Of N images, each one's best first, absent rows last; in the pixels of the images that the detector was given."""

    boxes_xyxy: Tensor
    """(N, K, 4) float32."""
    scores: Tensor
    """(N, K) float32 in 0..1."""
    labels: Tensor
    """(N, K) int64."""

    def per_image(self) -> list[Prediction]:
        """Waits for the device."""
        counts = self.present.sum(1).tolist()
        rows = zip(self.boxes_xyxy, self.scores, self.labels, counts, strict=True)
        return [Prediction(boxes[:n], scores[:n], labels[:n]) for boxes, scores, labels, n in rows]


@dataclass(frozen=True)
class Frame:
    """What the host knows of one image of a batch; as in `Target`."""

    image_id: int
    original_hw: tuple[int, int]
    image_hw: tuple[int, int]
    view: int = 0
    """Which of the views of its augmentation it is shown in (`views.views`); 0 where they have no end."""


class Batch:
    """N images on one canvas, and what is in them.

    No dataclass: Lightning turns every number in one to the network's type, and in bfloat16 a box has whole pixels.
    """

    def __init__(
        self,
        images: Tensor,
        sizes_hw: Tensor,
        targets: Targets,
        frames: Sequence[Frame],
        pending: Changes | None = None,
    ) -> None:
        self.images = images
        """(N, 3, H, W) uint8 in 0..255, or float in 0..1; zeros to the right of an image and below it. (N, 3, 0, 0)
        where nobody looks at them, for their features are known."""
        self.sizes_hw = sizes_hw
        """(N, 2) int64: height and width of each image on the canvas."""
        self.targets = targets
        self.frames = frames
        self.pending = pending
        """What is still to be done to `images`: until then `sizes_hw` are theirs, while the rest tells of after it."""

    @classmethod
    def of(cls, images: Sequence[Tensor], targets: Sequence[Target] | None = None, rows: int = 1) -> Batch:
        """Of (3, H, W) images of any sizes, on the canvas that just holds them; at least `rows` rows of objects."""
        sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        height, width = (max(size[axis] for size in sizes) for axis in (0, 1))
        canvas = images[0].new_zeros(len(images), 3, height, width)
        for place, image in zip(canvas, images, strict=True):
            place[:, : image.shape[-2], : image.shape[-1]] = image
        device = images[0].device
        if targets is None:
            frames = [Frame(i, size, size) for i, size in enumerate(sizes)]
            found = nothing(len(images), rows, device)
        else:
            frames = [
                Frame(target.image_id, target.original_hw, size) for target, size in zip(targets, sizes, strict=True)
            ]
            found = padded_targets(targets, rows)
        return cls(canvas, torch.tensor(sizes, device=device), found, frames)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """From pinned memory without waiting; Lightning asks for that with nothing but a tensor."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking or tensor.is_pinned()))

    def on_canvas(self, canvas_hw: tuple[int, int]) -> Batch:
        """The same pictures on another canvas, which holds them."""
        below, right = (side - own for side, own in zip(canvas_hw, self.images.shape[-2:], strict=True))
        return Batch(functional.pad(self.images, (0, right, 0, below)), self.sizes_hw, self.targets, self.frames)

    def pin_memory(self) -> Batch:
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        pending = self.pending and self.pending.map(change)
        return Batch(change(self.images), change(self.sizes_hw), self.targets.map(change), self.frames, pending)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def has_pixels(self) -> bool:
        return self.images.shape[-1] > 0

    def per_image(self) -> list[tuple[Tensor, Target]]:
        """Each image without its padding, and its objects. Waits for the device."""
        counts = self.targets.present.sum(1).tolist()
        return [(self._image(i), self._target(i, count)) for i, count in enumerate(counts)]

    def _image(self, i: int) -> Tensor:
        height, width = self.frames[i].image_hw
        return self.images[i, :, :height, :width]

    def _target(self, i: int, count: int) -> Target:
        frame, rows = (
            self.frames[i],
            {name: t[i, :count] for name, t in vars(self.targets).items() if name != "present"},
        )
        return Target(frame.image_id, **rows, original_hw=frame.original_hw, image_hw=frame.image_hw)


def padded_targets(targets: Sequence[Target], rows: int) -> Targets:
    """Of at least `rows` rows."""
    own = [target.per_object() for target in targets]
    most = max(rows, *(len(target.labels) for target in targets))
    packed = {name: pad([objects[name] for objects in own], most) for name in own[0]}
    return Targets(presence([len(target.labels) for target in targets], most, targets[0].labels.device), **packed)


def nothing(images: int, rows: int, device: torch.device | str) -> Targets:
    def zeros(*shape: int, dtype: torch.dtype) -> Tensor:
        return torch.zeros(images, rows, *shape, dtype=dtype, device=device)

    no = zeros(dtype=torch.bool)
    return Targets(no, zeros(4, dtype=torch.float32), zeros(dtype=torch.int64), no, no, zeros(dtype=torch.float32))


def take_rows(tensor: Tensor, rows: Tensor) -> Tensor:
    """Of (N, M, …), the (N, K) rows of each image: (N, K, …)."""
    return tensor[torch.arange(tensor.shape[0], device=tensor.device)[:, None], rows]


def pad(tensors: Sequence[Tensor], rows: int) -> Tensor:
    """(n_i, …) each, as one (N, rows, …), filled up with zeros."""
    packed = tensors[0].new_zeros(len(tensors), rows, *tensors[0].shape[1:])
    for place, tensor in zip(packed, tensors, strict=True):
        place[: len(tensor)] = tensor
    return packed


def presence(counts: Sequence[int], rows: int, device: torch.device | str) -> Tensor:
    """(N, rows) bool: the first `counts` of each."""
    return torch.arange(rows, device=device) < torch.tensor(counts, device=device)[:, None]
