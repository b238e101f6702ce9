"""The losses of D-FINE and RT-DETR, of all layers and images of a step at once; transformers' arithmetic, its pairing
of layers included, so that both learn the same from the same weights.

Axes: K layers, N images, Q queries, T objects; boxes are cx, cy, width, height in parts of the canvas. Sums over a step
are divided by the number of its objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from headstart.detectors.box_losses import giou, iou
from headstart.detectors.detr_boxes import as_xyxy
from headstart.detectors.detr_decoder import Answers
from headstart.detectors.ignored import left_out

WEIGHTS = {"classification": 1.0, "boxes_l1": 5.0, "boxes_giou": 2.0, "boxes_fgl": 0.15, "boxes_ddf": 1.5}
ALPHA, GAMMA = 0.75, 2.0
"""Of the varifocal loss (Zhang et al., CVPR 2021)."""
SOFTENED = 5.0
"""Temperature at which a layer's distributions learn from those of the last one."""
DUMMY = (0.5, 0.5, 1.0, 1.0)
"""Has an area: in place of boxes that nobody asks for."""


@dataclass(frozen=True)
class Objects:
    """What N images teach."""

    present: Tensor
    """(N, T) bool"""
    boxes: Tensor
    """(N, T, 4)"""
    labels: Tensor
    """(N, T) int64"""
    ignored: Tensor
    """(N, G) bool …"""
    ignored_boxes: Tensor
    """… of (N, G, 4): queries in them are not told to find nothing."""

    def tiled(self, times: int) -> Objects:
        """The same objects so many times, one time after the other."""
        boxes, labels = self.boxes.tile(1, times, 1), self.labels.tile(1, times)
        return Objects(self.present.tile(1, times), boxes, labels, self.ignored, self.ignored_boxes)

    @property
    def count(self) -> Tensor:
        return self.present.sum().clamp(min=1)


@dataclass(frozen=True)
class Layers:
    """Answers of K layers, and which of them are of which object."""

    logits: Tensor
    """(K, N, Q, classes)"""
    boxes: Tensor
    """(K, N, Q, 4)"""
    matches: Tensor
    """(K, N, T): a query, negative where there is none."""

    @classmethod
    def of(cls, answers: Sequence[Answers], matches: Tensor) -> Layers:
        return cls(*stacked(answers), matches)

    @property
    def found(self) -> Tensor:
        """(K, N, T) bool"""
        return self.matches >= 0

    def take(self, tensor: Tensor) -> Tensor:
        """Of (K, N, Q, …) those of the objects: (K, N, T, …)."""
        layers, images = (torch.arange(size, device=tensor.device) for size in tensor.shape[:2])
        return tensor[layers[:, None, None], images[None, :, None], self.matches.clamp(min=0)]

    def put(self, values: Tensor, into: Tensor) -> Tensor:
        """(K, N, Q, …) `into`, with (K, N, T, …) values at the queries of the objects."""
        layers, images, queries = into.shape[:3]
        wider = torch.cat((into, into[:, :, :1]), 2)  # what is of no object goes to a row that is cut off again
        places = [torch.arange(size, device=into.device) for size in (layers, images)]
        rows = self.matches.where(self.found, queries)
        return wider.index_put((places[0][:, None, None], places[1][None, :, None], rows), values.to(into))[:, :, :-1]


def stacked(answers: Sequence[Answers]) -> tuple[Tensor, Tensor]:
    """(K, N, Q, classes) logits and (K, N, Q, 4) boxes, in the canvas."""
    return torch.stack([each.logits for each in answers]), torch.stack([each.boxes.clamp(0, 1) for each in answers])


def detection_losses(layers: Layers, objects: Objects, count: Tensor) -> dict[str, Tensor]:
    """Of classes, and of the boxes of the queries that are of an object."""
    boxes, wanted = _pairs(layers, objects)
    found = layers.found
    overlaps = iou(as_xyxy(boxes.detach()), as_xyxy(wanted), eps=0)
    apart = (boxes - wanted).abs().sum(-1)
    apart_in_area = giou(as_xyxy(boxes), as_xyxy(wanted), eps=0)
    return {
        "classification": _varifocal(layers, objects, overlaps).sum() / count,
        "boxes_l1": apart.where(found, 0).sum() / count,
        "boxes_giou": apart_in_area.where(found, 0).sum() / count,
    }


def _pairs(layers: Layers, objects: Objects) -> tuple[Tensor, Tensor]:
    """(K, N, T, 4) boxes of queries, and of their objects."""
    boxes, nothing = layers.take(layers.boxes), layers.boxes.new_tensor(0).expand_as(objects.boxes)
    dummy = torch.cat((nothing[..., :2] + DUMMY[0], nothing[..., 2:] + DUMMY[2]), -1)
    here = layers.found[..., None]
    return boxes.where(here, dummy), objects.boxes.where(here, dummy)


def _varifocal(layers: Layers, objects: Objects, overlaps: Tensor) -> Tensor:
    """(K, N, Q): a query of an object is to score as much as its box overlaps."""
    logits = layers.logits
    of_class = functional.one_hot(objects.labels, logits.shape[-1]).to(logits.dtype).expand(len(logits), -1, -1, -1)
    is_class = layers.put(of_class, torch.zeros_like(logits))
    target = layers.put(of_class * overlaps.to(logits.dtype)[..., None], torch.zeros_like(logits))
    weight = ALPHA * logits.detach().sigmoid() ** GAMMA * (1 - is_class) + target
    loss = functional.binary_cross_entropy_with_logits(logits, target, weight, reduction="none").sum(-1)
    return loss.masked_fill(_spared(layers, objects), 0)


def _spared(layers: Layers, objects: Objects) -> Tensor:
    """(K, N, Q) bool: queries of no object, in ignored boxes."""
    boxes = as_xyxy(layers.boxes.detach())
    nobody = ~layers.put(layers.found, torch.zeros_like(boxes[..., 0], dtype=torch.bool))
    ignored, where = (t.expand(len(boxes), *t.shape).flatten(0, 1) for t in (objects.ignored, objects.ignored_boxes))
    return left_out(nobody.flatten(0, 1), boxes.flatten(0, 1), as_xyxy(where), ignored).view_as(nobody)


# ---------------------------------------------------------------------------------- D-FINE's distributions


@dataclass(frozen=True)
class Steps:
    """Distributions of K layers over how far each side is moved, and those of the last layer, which teaches them."""

    logits: Tensor
    """(K, N, Q, 4, bins)"""
    references: Tensor
    """(K, N, Q, 4): the boxes whose sides are moved."""
    teacher: Tensor
    """(N, Q, 4, bins)"""
    teacher_scores: Tensor
    """(N, Q): of the best class."""
    table: Tensor
    """(bins,): what each step means."""
    scale: Tensor
    teaches: int
    """How many of the first layers learn from it."""


def step_losses(layers: Layers, steps: Steps, objects: Objects, count: Tensor) -> dict[str, Tensor]:
    """D-FINE's fine-grained localisation, and what all layers learn from the last one."""
    boxes, wanted = _pairs(layers, objects)
    overlaps = iou(as_xyxy(boxes), as_xyxy(wanted), eps=0).detach()
    return {
        "boxes_fgl": _fine_grained(layers, steps, wanted, overlaps) / count,
        "boxes_ddf": _distilled(layers, steps, overlaps),
    }


def _fine_grained(layers: Layers, steps: Steps, wanted: Tensor, overlaps: Tensor) -> Tensor:
    """The two steps that a side lies between, each by how near it is (Li et al., Generalized Focal Loss, 2020)."""
    left, right_weight = _between(layers.take(steps.references.detach()), wanted, steps)
    logs = layers.take(steps.logits).log_softmax(-1)
    nearer, farther = (-logs.gather(-1, index[..., None])[..., 0] for index in (left, left + 1))
    loss = (nearer * (1 - right_weight) + farther * right_weight) * overlaps[..., None]
    return loss.sum(-1).where(layers.found, 0).sum()


@torch.no_grad()
def _between(references: Tensor, wanted: Tensor, steps: Steps) -> tuple[Tensor, Tensor]:
    """(K, N, T, 4): the step below what each side is to be moved by, and the weight of the step above."""
    scale, corners = steps.scale.abs(), as_xyxy(wanted)
    sides = references[..., 2:] / scale + 1e-16
    outwards = torch.cat((references[..., :2] - corners[..., :2], corners[..., 2:] - references[..., :2]), -1)
    by = outwards / sides.tile(2) - 0.5 * scale
    table = steps.table.to(by.dtype)
    left = (torch.searchsorted(table, by.contiguous(), right=True) - 1).clamp(0, len(table) - 2)
    below, above = table[left], table[left + 1]
    return left, ((by - below) / (above - below)).clamp(0, 1)


def _distilled(layers: Layers, steps: Steps, overlaps: Tensor) -> Tensor:
    """Each layer's mean over its queries of an object and over the others, weighted by the roots of their numbers."""
    count = steps.teaches
    student, teacher = steps.logits[:count] / SOFTENED, steps.teacher.detach() / SOFTENED
    apart = functional.kl_div(student.log_softmax(-1), teacher.softmax(-1).expand_as(student), reduction="none")
    apart = apart.sum(-1).sum(-1)
    scores = steps.teacher_scores.detach().expand(len(layers.matches), -1, -1)
    weights = layers.put(overlaps, scores)[:count]
    ours = layers.put(layers.found, torch.zeros_like(scores, dtype=torch.bool))[:count]
    loss = weights * SOFTENED**2 * apart
    means, roots = [], []
    for group in (ours, ~ours):
        number = 4 * group.sum((1, 2))
        means.append(loss.where(group, 0).sum((1, 2)) / number.clamp(min=1))
        roots.append((number / scores.shape[1]).sqrt())
    return ((means[0] * roots[0] + means[1] * roots[1]) / (roots[0] + roots[1])).sum()
