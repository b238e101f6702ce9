"""YOLOv3 (Redmon & Farhadi, "YOLOv3: An Incremental Improvement", arXiv 1804.02767, 2018), written after the paper."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from headstart.config.schema import BackboneConfig, YOLOv3Config
from headstart.detectors.anchors import nine_of
from headstart.detectors.backbones import build_body
from headstart.detectors.cells import PRIOR, STRIDES, CellDetector, Unit, by_anchor, last_layers, one_hot, surprise
from headstart.detectors.matching import GroundTruth, Wanted
from headstart.detectors.priors import decode, encode, responsible
from headstart.errors import UserError

PER_CELL = 3
"""Anchors of a cell."""
unit = partial(Unit, act=partial(nn.LeakyReLU, 0.1))
"""Darknet's layer."""


class YOLOv3Detector(CellDetector):
    """Darknet's network on any body; the losses are the paper's, over the objects of the batch."""

    def __init__(self, config: YOLOv3Config, backbone: BackboneConfig, class_names: Sequence[str]) -> None:
        super().__init__()
        self.anchor_sizes = nine_of(config)
        widths = widths_of(backbone)
        body = build_body(backbone, STRIDES)
        neck, head = Fusion(body.channels, widths), YOLOv3Head(widths, len(class_names))
        self._assemble(config, backbone, class_names, body, neck, head, PER_CELL)

    def losses_of(self, outputs: dict[str, Tensor], anchors_xyxy: Tensor, objects: GroundTruth) -> dict[str, Tensor]:
        """`anchors_xyxy` (A, 8): each anchor, and its cell.

        Of a box the gradient is the paper's, "the ground truth value minus our prediction": of width and height by a
        squared error, of the middle by the cross-entropy of its sigmoid, as the authors' program has it. Small boxes
        count up to twice as much, which is the program's as well.
        """
        priors, cells = anchors_xyxy.split(4, -1)
        matches = responsible(anchors_xyxy, objects)
        wanted = Wanted.of(matches, priors, objects)
        found, count = wanted.found, wanted.found.sum().clamp(min=1)
        wanted_codes = encode(wanted.boxes_xyxy, anchors_xyxy)
        boxes = of_codes(outputs["bbox_regression"].where(found[..., None], 0), wanted_codes)
        boxes = boxes * (2 - share(wanted.boxes_xyxy, cells))
        classes = surprise(outputs["cls_logits"], one_hot(wanted.labels, outputs["cls_logits"])).sum(-1)
        holds = surprise(outputs["objectness"], found.to(outputs["objectness"]))
        return {
            "classification": classes.where(found, 0).sum() / count,
            "bbox_regression": boxes.where(found, 0).sum() / count,
            "objectness": holds.where(matches >= -1, 0).sum() / count,
        }

    def _decoded(self, codes: Tensor, anchors_xyxy: Tensor) -> Tensor:
        return decode(codes, anchors_xyxy)

    def _anchors_of(
        self,
        canvas_hw: tuple[int, int],
        cells_hw: tuple[tuple[int, int], ...],
        dtype: torch.dtype,
        device: torch.device,
    ) -> Tensor:
        """(A, 8): each anchor, around the middle of its cell, and the cell."""
        cells = super()._anchors_of(canvas_hw, cells_hw, dtype, device)
        make = partial(with_priors, cells, cells_hw, self.anchor_sizes)
        return self._constants.get(("priors", *cells_hw, dtype, device), make)


def widths_of(backbone: BackboneConfig) -> tuple[int, int, int]:
    """Channels of the neck's maps, the finest first. The paper's are 128, 256 and 512."""
    width = backbone.neck_channels
    if width < 2 or width % 2:
        raise UserError(
            f"backbone.neck_channels={width} does not go with model=yolov3, whose finest map has half of it: use an "
            "even number"
        )
    return width // 2, width, 2 * width


def with_priors(cells: Tensor, cells_hw: Sequence[tuple[int, int]], sizes_wh: Sequence[tuple[float, float]]) -> Tensor:
    """(A, 8) of (A, 4) cells and nine sizes, three for each map."""
    nine = torch.tensor(sizes_wh, dtype=cells.dtype, device=cells.device).split(PER_CELL)
    pairs = zip(nine, cells_hw, strict=True)
    halves = torch.cat([three.expand(rows * columns, -1, -1).reshape(-1, 2) for three, (rows, columns) in pairs]) / 2
    middles = (cells[:, :2] + cells[:, 2:]) / 2
    return torch.cat((middles - halves, middles + halves, cells), -1)


# ------------------------------------------------------------------------------------------------ the network


class Five(nn.Sequential):
    """1 x 1 and 3 x 3 by turns, the latter twice as wide."""

    def __init__(self, channels: int, width: int) -> None:
        wide = 2 * width
        super().__init__(
            unit(channels, width, 1),
            unit(width, wide, 3),
            unit(wide, width, 1),
            unit(width, wide, 3),
            unit(wide, width, 1),
        )


class Fusion(nn.Module):
    """Each map of the body, with the next coarser one of the neck made narrow and large beside it."""

    def __init__(self, channels: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        beside = (*widths[:-1], 0)
        inputs = [own + other for own, other in zip(channels, beside, strict=True)]
        self.fives = nn.ModuleList(Five(into, width) for into, width in zip(inputs, widths, strict=True))
        self.narrow = nn.ModuleList(unit(coarse, fine, 1) for fine, coarse in pairwise(widths))

    def forward(self, maps: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
        *finer, level = maps.values()
        made = [self.fives[-1](level)]
        for i in reversed(range(len(finer))):
            large = functional.interpolate(self.narrow[i](made[0]), size=finer[i].shape[-2:], mode="nearest")
            made.insert(0, self.fives[i](torch.cat((large, finer[i]), 1)))
        return OrderedDict(zip(maps, made, strict=True))


class YOLOv3Head(nn.Module):
    """Of each map a 3 x 3 layer, and the last one: of each anchor four numbers of the box, the objectness, the classes.

    The last one is three convolutions, which are one whose rows are sorted: what is said of classes has tensors of its
    own.
    """

    def __init__(self, widths: Sequence[int], num_classes: int) -> None:
        super().__init__()
        wide = [2 * width for width in widths]
        self.layers = nn.ModuleList(unit(width, 2 * width, 3) for width in widths)
        last = partial(last_layers, wide, std=0.01)
        self.classification_head = last(PER_CELL * num_classes)
        self.regression_head = last(PER_CELL * 4)
        self.objectness_head = last(PER_CELL, -math.log(1 / PRIOR - 1))

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        seen = [layer(level) for layer, level in zip(self.layers, maps, strict=True)]
        return {
            "cls_logits": by_anchor(self.classification_head, seen, PER_CELL),
            "bbox_regression": by_anchor(self.regression_head, seen, PER_CELL),
            "objectness": by_anchor(self.objectness_head, seen, PER_CELL)[..., 0],
        }


# ---------------------------------------------------------------------------------------------------- losses


def of_codes(codes: Tensor, wanted: Tensor) -> Tensor:
    """(N, A) of (N, A, 4) codes, and those of the wanted box: its middle in 0..1 of the cell."""
    middle = surprise(codes[..., :2], wanted[..., :2]).sum(-1)
    return middle + 0.5 * (codes[..., 2:] - wanted[..., 2:]).square().sum(-1)


def share(boxes_xyxy: Tensor, cells_xyxy: Tensor) -> Tensor:
    """(N, A): what part of the canvas, which the cells (A, 4) cover, each box takes."""
    width, height = cells_xyxy[:, 2:].amax(0)
    return (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).prod(-1) / (width * height)
