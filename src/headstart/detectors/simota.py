"""SimOTA: which cells learn which object, by what the network says of them now (Ge et al., "YOLOX", 2021, 2.3; OTA: Ge
et al., CVPR 2021), for N images at once, and nothing that waits.

Each object takes so many of the cheapest cells around its middle as the IoUs of its ten best add up to; a cell that
several would take goes to the one for which it is cheapest.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from headstart.detectors.matching import GroundTruth
from headstart.detectors.overlaps import in_blocks, present_iou

RADIUS = 2.5
"""Strides from an object's middle, within which a cell's own middle must lie."""
MOST = 10
"""Cells whose IoUs say how many an object takes, and the most that it takes."""
OF_BOXES = 3.0
"""Weight of the box's cost beside that of the class."""
OUTSIDE = 1e5
"""Cost of a cell whose middle is not in the object: taken where there is no other."""


@torch.no_grad()
def taken(cells_xyxy: Tensor, found_xyxy: Tensor, scores: Tensor, objects: GroundTruth) -> Tensor:
    """(N, A) int64: the row of the object that a cell learns, -1 of none.

    Of (A, 4) cells, and the boxes (N, A, 4) and scores (N, A, classes) in 0..1 that the network has of them.
    """
    rule = partial(_taken, cells_xyxy)
    return in_blocks(rule, found_xyxy, objects.boxes_xyxy, objects.present, objects.labels, scores)


def _taken(
    cells_xyxy: Tensor, found_xyxy: Tensor, boxes_xyxy: Tensor, present: Tensor, labels: Tensor, scores: Tensor
) -> Tensor:
    near, inside = around(cells_xyxy, boxes_xyxy)
    near &= present[..., None]
    iou = present_iou(found_xyxy, boxes_xyxy, present).where(near, 0)
    cost = of_classes(scores, labels) - OF_BOXES * (iou + 1e-8).log() + OUTSIDE * ~inside
    chosen = cheapest(cost.where(near, torch.inf), how_many(iou))
    best = cost.where(chosen, torch.inf).min(1)
    return best.indices.where(best.values < torch.inf, -1)


def around(cells_xyxy: Tensor, boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """(N, T, A) bool each: whether the middle of a cell lies near that of a box, and whether it lies in the box."""
    middles, strides = (cells_xyxy[:, :2] + cells_xyxy[:, 2:]) / 2, cells_xyxy[:, 2:] - cells_xyxy[:, :2]
    low, high = boxes_xyxy[:, :, None, :2], boxes_xyxy[:, :, None, 2:]
    near = ((middles - (low + high) / 2).abs() < RADIUS * strides).all(-1)
    return near, ((middles > low) & (middles < high)).all(-1)


def of_classes(scores: Tensor, labels: Tensor) -> Tensor:
    """(N, T, A): the binary cross-entropy of the square roots of (N, A, classes) scores, summed over the classes, if
    the label (N, T) were right."""
    right, wrong = (-part.log().clamp(min=-100) for part in (scores.sqrt(), 1 - scores.sqrt()))
    changed = (right - wrong).transpose(1, 2)
    own = changed.gather(1, labels[..., None].expand(-1, -1, changed.shape[2]))
    return own + wrong.sum(-1)[:, None]


def how_many(iou: Tensor) -> Tensor:
    """(N, T, 1): of each object, whose IoU with a cell that is not near is 0 in (N, T, A)."""
    best = iou.topk(min(MOST, iou.shape[2])).values
    return best.sum(-1, keepdim=True).floor().clamp(min=1)


def cheapest(cost: Tensor, counts: Tensor) -> Tensor:
    """(N, T, A) bool: the cells with the `counts` (N, T, 1) lowest costs; none of infinite cost."""
    found = cost.topk(min(MOST, cost.shape[2]), largest=False)
    places = torch.arange(found.values.shape[2], device=cost.device)
    keep = (places < counts) & (found.values < torch.inf)
    return torch.zeros_like(cost, dtype=torch.bool).scatter(2, found.indices, keep)
