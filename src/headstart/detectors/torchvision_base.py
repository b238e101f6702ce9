"""What all detectors on torchvision's implementations share.

Each is torchvision's own class with the `Detector` contract in front: the names of its tensors are torchvision's, so
that torchvision's COCO weights load as they are.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from headstart.config.schema import ModelConfig
from headstart.data.batch import Batch, Detections, detections
from headstart.data.types import Prediction
from headstart.detectors.backbones import Body
from headstart.detectors.interface import ClassLogits, Detector, Features, Places, Preprocessing, Stage, take_rows
from headstart.errors import UserError


class FpnBackbone(nn.Module):
    """A body with a feature pyramid (Lin et al., CVPR 2017); named as torchvision's `BackboneWithFPN`."""

    def __init__(
        self, body: nn.Module, channels: Sequence[int], out_channels: int, extra: ExtraFPNBlock, norm: Any = None
    ) -> None:
        super().__init__()
        self.body = body
        self.fpn = FeaturePyramidNetwork(list(channels), out_channels, extra, norm)
        self.out_channels = out_channels

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return self.fpn(self.body(images))


PAPERS_WIDTH = 256
"""Channels of the pyramid and the heads in the papers, for which torchvision draws weights from N(0, 0.01)."""


def keep_gain(layers: nn.Module) -> None:
    """Scales the 3x3 convolutions of `layers` so that they pass on as much of a signal as 256 channels would.

    With N(0, 0.01) for any width, four convolutions of 64 channels leave a sixteenth of what 256 channels leave: the
    heads then need most of a short training to wake up. Nothing changes at 256 channels.
    """
    for layer in layers.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            with torch.no_grad():
                layer.weight.mul_((PAPERS_WIDTH / layer.in_channels) ** 0.5)


NORM_GROUPS = 32
"""Of the group normalisation in torchvision's heads of FCOS and of RetinaNet v2."""


def refuse_width(width: int, detector: str) -> None:
    """Raises `UserError` where those groups cannot be made, or have one channel: a map of one cell then has none to
    normalise over."""
    if width % NORM_GROUPS or width <= NORM_GROUPS:
        raise UserError(
            f"backbone.neck_channels={width} does not go with {detector}, whose heads normalise {NORM_GROUPS} groups "
            f"of channels: use a multiple of {NORM_GROUPS}, {2 * NORM_GROUPS} or more"
        )


def at_least_float32(tensor: Tensor) -> Tensor:
    """Boxes lose whole pixels in half precision."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


class TorchvisionDetector(Detector):
    """Batching, targets and predictions; `_set_up` comes after torchvision's constructor."""

    backbone: nn.Module
    size_divisible = 32
    """Batches are padded to multiples of this many pixels …"""
    min_canvas = 1
    """… and to at least this many."""
    background = 0
    """1 where the head has a row for the background: torchvision's labels then begin at 1."""

    def _set_up(
        self, config: ModelConfig, body: Body, class_names: Sequence[str], preprocessing: Preprocessing
    ) -> None:
        del self.transform  # resizing belongs to the data, normalising and padding to `normalised`
        self.class_names = tuple(class_names)
        self.preprocessing = preprocessing
        self._body_stages = body.stages
        self._library_names = {f"{self.body_prefix}.{ours}": theirs for ours, theirs in body.library_names.items()}
        self._memory_format = torch.channels_last if config.channels_last else torch.contiguous_format
        self.to(memory_format=self._memory_format)

    body_prefix = "backbone.body"
    body_outputs: tuple[str, ...] = ("backbone.body",)
    """Modules whose outputs are the body's maps."""
    neck_prefixes: tuple[str, ...] = ("backbone.fpn",)
    head_prefixes: tuple[str, ...] = ("head",)

    def stages(self) -> list[Stage]:
        body = [replace(s, prefixes=tuple(f"{self.body_prefix}.{p}" for p in s.prefixes)) for s in self._body_stages]
        return [*body, Stage("neck", self.neck_prefixes), Stage("head", self.head_prefixes)]

    def library_names(self) -> dict[str, str]:
        return dict(self._library_names)

    def features_of(self, images: Tensor, sizes_hw: Tensor) -> Features:
        body_maps: list[Tensor] = []

        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            body_maps.extend(output.values() if isinstance(output, dict) else [output])

        hooks = [self.get_submodule(name).register_forward_hook(keep) for name in self.body_outputs]
        try:
            maps = self._features(images)
        finally:
            for hook in hooks:
                hook.remove()
        return Features(images, sizes_hw, maps, tuple(body_maps))

    def losses(self, batch: Batch, features: Features | None = None) -> dict[str, Tensor]:
        features = features or self.features(batch)
        images, maps = ImageList(features.batch, [frame.image_hw for frame in batch.frames]), OrderedDict(features.maps)
        return self._losses(images, maps, self._torchvision_targets(batch))

    def detect(self, batch: Batch, features: Features | None = None) -> Detections:
        features = features or self.features(batch)
        images, maps = ImageList(features.batch, [frame.image_hw for frame in batch.frames]), OrderedDict(features.maps)
        return detections(
            [
                Prediction(found["boxes"], found["scores"], found["labels"] - self.background)
                for found in self._detections(images, maps)
            ]
        )

    @abstractmethod
    def _losses(
        self, batch: ImageList, features: OrderedDict[str, Tensor], targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]: ...

    @abstractmethod
    def _detections(self, batch: ImageList, features: OrderedDict[str, Tensor]) -> list[dict[str, Tensor]]: ...

    def _features(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return self.backbone(images)

    def normalised(self, batch: Batch) -> Tensor:
        """Normalised, then padded with zeros to the right and below, as torchvision does."""
        height, width = (self._canvas(side) for side in batch.images.shape[-2:])
        dtype, device = self._dtype(), batch.images.device
        mean = torch.tensor(self.preprocessing.mean, dtype=dtype, device=device)[:, None, None]
        std = torch.tensor(self.preprocessing.std, dtype=dtype, device=device)[:, None, None]
        scaled = batch.images.to(dtype) / 255 if batch.images.dtype == torch.uint8 else batch.images.to(dtype)
        normalised = torch.where(self._inside(batch), (scaled - mean) / std, 0)
        right, below = width - batch.images.shape[-1], height - batch.images.shape[-2]
        return functional.pad(normalised, (0, right, 0, below)).contiguous(memory_format=self._memory_format)

    @staticmethod
    def _inside(batch: Batch) -> Tensor:
        """(N, 1, H, W) bool: the pixels of the images, without the padding."""
        down, right = (torch.arange(side, device=batch.images.device) for side in batch.images.shape[-2:])
        heights, widths = batch.sizes_hw[:, :1], batch.sizes_hw[:, 1:]
        return ((down < heights)[:, :, None] & (right < widths)[:, None, :])[:, None]

    def _canvas(self, size: int) -> int:
        return -(-max(size, self.min_canvas) // self.size_divisible) * self.size_divisible

    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def _torchvision_targets(self, batch: Batch) -> list[dict[str, Tensor]]:
        targets = [target for _, target in batch.per_image()]
        found = []
        for target in targets:
            boxes = target.boxes_xyxy
            keep = ~target.ignore & (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
            boxes = boxes.to(torch.promote_types(self._dtype(), torch.float32))
            labels = target.labels[keep] + self.background
            found.append({"boxes": boxes[keep], "labels": labels, "ignored": boxes[target.ignore]})
        return found


class OneStageDetector(TorchvisionDetector):
    """A dense head on every cell: `self.head` and `self.anchor_generator` as torchvision names them."""

    head: nn.Module
    anchor_generator: AnchorGenerator | DefaultBoxGenerator

    def class_logits(self, features: Features, places: Places | None = None) -> ClassLogits:
        head = self.head.get_submodule("classification_head")
        logits = at_least_float32(head(list(features.maps.values())))
        places = self._places(features) if places is None else places
        return ClassLogits(take_rows(logits, places.where), places)

    def _places(self, features: Features) -> Places:
        """Indices of the anchors, in the head's order; present where their cells lie in the image."""
        counts = self.anchor_generator.num_anchors_per_location()
        levels = zip(features.maps.values(), counts, strict=True)
        inside = [features.inside(level).flatten(1).repeat_interleave(count, dim=1) for level, count in levels]
        present = torch.cat(inside, dim=1)
        return Places(present, torch.arange(present.shape[1], device=present.device).expand_as(present))

    def _outputs(self, batch: ImageList, features: OrderedDict[str, Tensor]) -> tuple[dict[str, Tensor], list[Tensor]]:
        outputs = {name: at_least_float32(output) for name, output in self.head(list(features.values())).items()}
        like = next(iter(outputs.values()))
        # Anchors take the features' type; only the shapes matter to them.
        shapes = [like.new_empty(()).expand(level.shape) for level in features.values()]
        return outputs, self.anchor_generator(batch, shapes)

    @staticmethod
    def _by_level(
        outputs: dict[str, Tensor], anchors: list[Tensor], features: OrderedDict[str, Tensor], anchors_per_cell: int
    ) -> tuple[dict[str, list[Tensor]], list[list[Tensor]]]:
        counts = [level.shape[-2] * level.shape[-1] * anchors_per_cell for level in features.values()]
        levels = {name: list(output.split(counts, dim=1)) for name, output in outputs.items()}
        return levels, [list(of_image.split(counts)) for of_image in anchors]
