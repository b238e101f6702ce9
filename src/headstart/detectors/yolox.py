"""YOLOX (Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv 2107.08430), written after the paper.

One anchor a cell, a head whose branches for class and box are apart, SimOTA. Of its recipe the strong augmentation is
the data's affair, and the L1 loss of the last epochs is left out: the loss of a run is one.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from headstart.config.schema import BackboneConfig, YOLOXConfig
from headstart.detectors.backbones import build_body
from headstart.detectors.box_losses import iou
from headstart.detectors.cells import PRIOR, STRIDES, CellDetector, Unit, by_anchor, last_layers, one_hot, surprise
from headstart.detectors.coding import LARGEST
from headstart.detectors.ignored import left_out
from headstart.detectors.matching import GroundTruth, Wanted
from headstart.detectors.simota import taken

OF_BOXES = 5.0
"""Weight of the IoU loss beside the others."""
unit = partial(Unit, norm=partial(nn.BatchNorm2d, eps=1e-3, momentum=0.03), act=partial(nn.SiLU, inplace=True))
"""A layer with the paper's normalisation and activation."""


class YOLOXDetector(CellDetector):
    """The paper's head and losses on any body; its neck is a path aggregation network in its simplest form."""

    def __init__(self, config: YOLOXConfig, backbone: BackboneConfig, class_names: Sequence[str]) -> None:
        super().__init__()
        width = backbone.neck_channels
        body = build_body(backbone, STRIDES)
        neck, head = Paths(body.channels, width), YOLOXHead(width, len(class_names))
        self._assemble(config, backbone, class_names, body, neck, head, per_cell=1)

    def losses_of(self, outputs: dict[str, Tensor], anchors_xyxy: Tensor, objects: GroundTruth) -> dict[str, Tensor]:
        """Over the cells of all objects of the batch. The right class is told by the IoU of what was found."""
        said = self._decoded(outputs["bbox_regression"].detach(), anchors_xyxy)
        matches = taken(anchors_xyxy, said, self._scores(outputs).detach(), objects)
        wanted = Wanted.of(matches, anchors_xyxy, objects)
        found, count = wanted.found, wanted.found.sum().clamp(min=1)
        codes = outputs["bbox_regression"].where(found[..., None], 0)
        shared = iou(self._decoded(codes, anchors_xyxy), wanted.boxes_xyxy)
        right = one_hot(wanted.labels, outputs["cls_logits"]) * shared.detach()[..., None]
        classes = surprise(outputs["cls_logits"], right).sum(-1)
        spared = left_out(~found, anchors_xyxy, objects.boxes_xyxy, objects.ignored)
        holds = surprise(outputs["objectness"], found.to(outputs["objectness"]))
        return {
            "classification": classes.where(found, 0).sum() / count,
            "bbox_regression": OF_BOXES * (1 - shared.square()).where(found, 0).sum() / count,
            "objectness": holds.masked_fill(spared, 0).sum() / count,
        }

    def _decoded(self, codes: Tensor, anchors_xyxy: Tensor) -> Tensor:
        """Of cells: the middle from their upper left corner, width and height, in strides."""
        corners, strides = anchors_xyxy[..., :2], anchors_xyxy[..., 2:] - anchors_xyxy[..., :2]
        middles = corners + codes[..., :2] * strides
        halves = 0.5 * strides * codes[..., 2:].clamp(max=LARGEST).exp()
        return torch.cat((middles - halves, middles + halves), -1)


class Paths(nn.Module):
    """From the coarsest map to the finest and back (Liu et al., "Path Aggregation Network", CVPR 2018), by sums."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        steps = range(len(channels) - 1)
        self.inner = nn.ModuleList(unit(own, width, 1) for own in channels)
        self.down = nn.ModuleList(unit(width, width, 3) for _ in steps)
        self.smaller = nn.ModuleList(unit(width, width, 3, stride=2) for _ in steps)
        self.up = nn.ModuleList(unit(width, width, 3) for _ in steps)

    def forward(self, maps: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
        levels = [layer(level) for layer, level in zip(self.inner, maps.values(), strict=True)]
        for i in reversed(range(len(self.down))):
            large = functional.interpolate(levels[i + 1], size=levels[i].shape[-2:], mode="nearest")
            levels[i] = self.down[i](levels[i] + large)
        for i in range(len(self.up)):
            levels[i + 1] = self.up[i](levels[i + 1] + self.smaller[i](levels[i]))
        return OrderedDict(zip(maps, levels, strict=True))


class YOLOXHead(nn.Module):
    """Of each map its own layers: a 1 x 1, then two 3 x 3 for the classes, and two for box and objectness.

    The last weights begin as PyTorch's: from N(0, 0.01) the box's gradient drowns that of the classes, of which
    nothing was learned in 128 steps.
    """

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        widths = [width] * len(STRIDES)
        self.stems = nn.ModuleList(unit(width, width, 1) for width in widths)
        self.of_classes = nn.ModuleList(nn.Sequential(*(unit(width, width, 3) for _ in "12")) for width in widths)
        self.of_boxes = nn.ModuleList(nn.Sequential(*(unit(width, width, 3) for _ in "12")) for width in widths)
        self.classification_head = last_layers(widths, num_classes)
        self.regression_head = last_layers(widths, 4)
        self.objectness_head = last_layers(widths, 1, -math.log(1 / PRIOR - 1))

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        stems = [layer(level) for layer, level in zip(self.stems, maps, strict=True)]
        classes, boxes = (
            [layer(level) for layer, level in zip(layers, stems, strict=True)]
            for layers in (self.of_classes, self.of_boxes)
        )
        return {
            "cls_logits": by_anchor(self.classification_head, classes, 1),
            "bbox_regression": by_anchor(self.regression_head, boxes, 1),
            "objectness": by_anchor(self.objectness_head, boxes, 1)[..., 0],
        }
