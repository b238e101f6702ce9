"""What YOLOv3 and YOLOX share: every cell of three maps says whether it holds an object, of which class and where."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.image_list import ImageList

from headstart.config.schema import BackboneConfig, ModelConfig
from headstart.detectors.backbones import Body
from headstart.detectors.interface import ClassAxis, ClassLogits, Features, Places, take_rows
from headstart.detectors.pretrained import default_preprocessing
from headstart.detectors.torchvision_base import OneStageDetector, at_least_float32

STRIDES = (8, 16, 32)
"""Pixels of a cell of each map."""
PRIOR = 0.01
"""What the objectness of every cell begins with: a loss of thousands of empty cells would drown the objects'."""
CANDIDATES = 1000
"""Best pairs of anchor and class of each map that go into suppression, as torchvision's RetinaNet and FCOS."""


class NeckedBackbone(nn.Module):
    """A body, and a neck that makes three maps of its three."""

    def __init__(self, body: nn.Module, neck: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.neck = neck

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return self.neck(self.body(images))


class Unit(nn.Sequential):
    """A convolution, batch normalisation and activation."""

    def __init__(
        self,
        channels: int,
        width: int,
        size: int,
        stride: int = 1,
        *,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
        act: Callable[[], nn.Module],
    ) -> None:
        conv = nn.Conv2d(channels, width, size, stride, padding=size // 2, bias=False)
        nn.init.kaiming_normal_(conv.weight, a=0.1)
        super().__init__(OrderedDict({"conv": conv, "bn": norm(width), "act": act()}))


class Cells(nn.Module):
    """The cells of all maps as boxes (A, 4) xyxy, each so many times in a row, called as torchvision's generators."""

    def __init__(self, per_cell: int) -> None:
        super().__init__()
        self.per_cell = per_cell

    def num_anchors_per_location(self) -> list[int]:
        return [self.per_cell] * len(STRIDES)

    def forward(self, images: ImageList, maps: Sequence[Tensor]) -> list[Tensor]:
        levels = [self._of_level(level, stride) for level, stride in zip(maps, STRIDES, strict=True)]
        return [torch.cat(levels)] * len(images.image_sizes)

    def _of_level(self, level: Tensor, stride: int) -> Tensor:
        rows, columns = (
            stride * torch.arange(side, dtype=level.dtype, device=level.device) for side in level.shape[-2:]
        )
        top, left = torch.meshgrid(rows, columns, indexing="ij")
        corners = torch.stack((left, top), -1).reshape(-1, 1, 2)
        return torch.cat((corners, corners + stride), -1).expand(-1, self.per_cell, -1).reshape(-1, 4)


class CellDetector(OneStageDetector):
    """`head` gives `cls_logits` (N, A, classes), `objectness` (N, A) and `bbox_regression` (N, A, 4) of its maps; its
    last layers are in `LAST`, a list of one for each map each."""

    LAST = ("head.classification_head", "head.regression_head", "head.objectness_head")
    neck_prefixes = ("backbone.neck",)
    anchor_generator: Cells

    def _assemble(
        self,
        config: ModelConfig,
        backbone: BackboneConfig,
        class_names: Sequence[str],
        body: Body,
        neck: nn.Module,
        head: nn.Module,
        per_cell: int,
    ) -> None:
        self.backbone = NeckedBackbone(body.module, neck)
        self.anchor_generator = Cells(per_cell)
        self.head = head
        self.score_thresh, self.nms_thresh = config.score_threshold, config.nms_threshold
        self.detections_per_img, self.topk_candidates = config.detections_per_image, CANDIDATES
        self._set_up(config, body, class_names, default_preprocessing(backbone))

    def class_logits(self, features: Features, places: Places | None = None) -> ClassLogits:
        """Of the score that a detection has, the product of two probabilities: what the classes' own logits say of a
        cell without an object, nobody has taught them."""
        outputs: dict[str, Tensor] = self.head(list(features.maps.values()))
        logits = both(*(at_least_float32(outputs[name]) for name in ("cls_logits", "objectness")))
        places = self._places(features) if places is None else places
        return ClassLogits(take_rows(logits, places.where), places)

    def _scores(self, outputs: dict[str, Tensor]) -> Tensor:
        return outputs["cls_logits"].sigmoid() * outputs["objectness"].sigmoid()[..., None]

    def class_axes(self) -> list[ClassAxis]:
        per_cell = self.anchor_generator.per_cell
        layers = (f"{self.LAST[0]}.{i}" for i in range(len(STRIDES)))
        return [ClassAxis(f"{layer}.{part}", per_cell) for layer in layers for part in ("weight", "bias")]

    def predictors(self) -> tuple[str, ...]:
        return self.LAST


def both(class_logits: Tensor, objectness: Tensor) -> Tensor:
    """(…, classes): the logit of sigmoid(class) * sigmoid(objectness), of (…, classes) and (…)."""
    one, other = -class_logits, -objectness[..., None].expand_as(class_logits)
    return -torch.stack((one, other, one + other)).logsumexp(0)


def last_layers(widths: Sequence[int], rows: int, bias: float = 0.0, std: float | None = None) -> nn.ModuleList:
    """A 1 x 1 convolution for each map; its weights are drawn from N(0, std), or as PyTorch draws them."""
    layers = nn.ModuleList(nn.Conv2d(width, rows, 1) for width in widths)
    for layer in layers:
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        if std is not None:
            nn.init.normal_(layer.weight, std=std)
        nn.init.constant_(layer.bias, bias)
    return layers


def by_anchor(layers: nn.ModuleList, maps: Sequence[Tensor], per_cell: int) -> Tensor:
    """(N, A, rows): what each layer says of its map, (N, per_cell * rows, h, w), anchor after anchor."""

    def of_level(layer: Any, level: Tensor) -> Tensor:
        said: Tensor = layer(level).unflatten(1, (per_cell, -1))
        return said.permute(0, 3, 4, 1, 2).flatten(1, 3)

    return torch.cat([of_level(layer, level) for layer, level in zip(layers, maps, strict=True)], 1)


surprise = partial(functional.binary_cross_entropy_with_logits, reduction="none")
"""Of logits, and what they should say in 0..1."""


def one_hot(labels: Tensor, logits: Tensor) -> Tensor:
    """(N, A, classes) of (N, A), as `logits`."""
    return (labels[..., None] == torch.arange(logits.shape[-1], device=labels.device)).to(logits)
