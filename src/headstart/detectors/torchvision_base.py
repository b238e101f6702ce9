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
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from headstart.config.schema import ModelConfig
from headstart.data.types import Prediction, Target
from headstart.detectors.backbones import Body
from headstart.detectors.interface import ClassLogits, Detector, Features, Preprocessing, Stage
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
        del self.transform  # resizing belongs to the data, normalising and padding to `_batch`
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

    def features(self, images: list[Tensor]) -> Features:
        batch = self._batch(images)
        body_maps: list[Tensor] = []

        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            body_maps.extend(output.values() if isinstance(output, dict) else [output])

        hooks = [self.get_submodule(name).register_forward_hook(keep) for name in self.body_outputs]
        try:
            maps = self._features(batch)
        finally:
            for hook in hooks:
                hook.remove()
        return Features(batch.tensors, batch.image_sizes, maps, tuple(body_maps))

    def losses(
        self, images: list[Tensor], targets: list[Target], features: Features | None = None
    ) -> dict[str, Tensor]:
        features = features or self.features(images)
        batch, maps = ImageList(features.batch, features.sizes), OrderedDict(features.maps)
        return self._losses(batch, maps, [self._torchvision_target(target) for target in targets])

    def predict(self, images: list[Tensor]) -> list[Prediction]:
        batch = self._batch(images)
        return [
            Prediction(found["boxes"], found["scores"], found["labels"] - self.background)
            for found in self._detections(batch, self._features(batch))
        ]

    @abstractmethod
    def _losses(
        self, batch: ImageList, features: OrderedDict[str, Tensor], targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]: ...

    @abstractmethod
    def _detections(self, batch: ImageList, features: OrderedDict[str, Tensor]) -> list[dict[str, Tensor]]: ...

    def _features(self, batch: ImageList) -> OrderedDict[str, Tensor]:
        return self.backbone(batch.tensors)

    def _batch(self, images: list[Tensor]) -> ImageList:
        """Normalised, then padded with zeros to the right and below, as torchvision does."""
        sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        height, width = (self._canvas(max(size[axis] for size in sizes)) for axis in (0, 1))
        dtype, device = self._dtype(), images[0].device
        mean = torch.tensor(self.preprocessing.mean, dtype=dtype, device=device)[:, None, None]
        std = torch.tensor(self.preprocessing.std, dtype=dtype, device=device)[:, None, None]
        batch = torch.zeros(len(images), 3, height, width, dtype=dtype, device=device)
        batch = batch.to(memory_format=self._memory_format)
        for row, image in zip(batch, images, strict=True):
            scaled = image.to(dtype) / 255 if image.dtype == torch.uint8 else image.to(dtype)
            row[:, : image.shape[-2], : image.shape[-1]] = (scaled - mean) / std
        return ImageList(batch, sizes)

    def _canvas(self, size: int) -> int:
        return -(-max(size, self.min_canvas) // self.size_divisible) * self.size_divisible

    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def _torchvision_target(self, target: Target) -> dict[str, Tensor]:
        boxes = target.boxes_xyxy
        keep = ~target.ignore & (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        boxes = boxes.to(torch.promote_types(self._dtype(), torch.float32))
        labels = target.labels[keep] + self.background
        return {"boxes": boxes[keep], "labels": labels, "ignored": boxes[target.ignore]}


class OneStageDetector(TorchvisionDetector):
    """A dense head on every cell: `self.head` and `self.anchor_generator` as torchvision names them."""

    head: nn.Module
    anchor_generator: AnchorGenerator | DefaultBoxGenerator

    def class_logits(self, features: Features, places: list[Tensor] | None = None) -> ClassLogits:
        head = self.head.get_submodule("classification_head")
        logits = at_least_float32(head(list(features.maps.values())))
        places = self._places(features) if places is None else places
        return ClassLogits([of_image[here] for of_image, here in zip(logits, places, strict=True)], places)

    def _places(self, features: Features) -> list[Tensor]:
        """Indices of the anchors, in the head's order, whose cells lie in the image."""
        counts = self.anchor_generator.num_anchors_per_location()
        levels = zip(features.maps.values(), counts, strict=True)
        inside = [features.inside(level).flatten(1).repeat_interleave(count, dim=1) for level, count in levels]
        return [of_image.nonzero().squeeze(1) for of_image in torch.cat(inside, dim=1)]

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
