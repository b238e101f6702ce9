"""YOLOv3's anchors: which is responsible for which object, and what it says of its box (Redmon & Farhadi, 2018, 2.1).

Rows are (A, 8): an anchor xyxy, around the middle of its cell, and the cell xyxy.
"""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.detectors.coding import LARGEST
from headstart.detectors.matching import GroundTruth, match
from headstart.detectors.overlaps import area, in_blocks

IGNORE = 0.5
"""IoU with an object from which on an anchor that is not responsible for one is not told that it is background."""


def decode(codes: Tensor, anchors: Tensor) -> Tensor:
    """(…, 4) boxes of (…, 4) codes and (…, 8) rows: b_x = sigmoid(t_x) + c_x, b_w = p_w exp(t_w), and so on, in
    pixels."""
    prior, cell = anchors.split(4, -1)
    middles = cell[..., :2] + codes[..., :2].sigmoid() * (cell[..., 2:] - cell[..., :2])
    halves = 0.5 * (prior[..., 2:] - prior[..., :2]) * codes[..., 2:].clamp(max=LARGEST).exp()
    return torch.cat((middles - halves, middles + halves), -1)


def encode(boxes_xyxy: Tensor, anchors: Tensor) -> Tensor:
    """(…, 4): where in its cell the middle of a box lies, sigmoid(t_x) and sigmoid(t_y), then t_w and t_h."""
    prior, cell = anchors.split(4, -1)
    middles = (boxes_xyxy[..., :2] + boxes_xyxy[..., 2:]) / 2
    within = (middles - cell[..., :2]) / (cell[..., 2:] - cell[..., :2])
    sides = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]) / (prior[..., 2:] - prior[..., :2])
    return torch.cat((within, sides.log()), -1)


@torch.no_grad()
def responsible(anchors: Tensor, objects: GroundTruth) -> Tensor:
    """(N, A) int64: the row of the object that an anchor is responsible for, else as `match` says: background, or
    neither, for it overlaps an object by `IGNORE` or more, or lies in an ignored box.

    The paper's rule: the anchor itself is measured, not what it predicts, as the authors' program does.
    """
    own = in_blocks(best_of_cell, anchors, objects.boxes_xyxy, objects.present)
    boxes = objects.boxes_xyxy, objects.present, objects.ignored
    others = match(anchors[:, :4], *boxes, low=IGNORE, high=torch.inf)
    return torch.where(own >= 0, own, others)


def best_of_cell(anchors: Tensor, boxes_xyxy: Tensor, present: Tensor) -> Tensor:
    """(N, A) int64: of the anchors whose cells hold the middle of a box, the one that is most like it in shape gets
    its row, the first of equals; the last of several boxes gets the anchor; -1 of none."""
    cells = anchors[:, 4:]
    middles = (boxes_xyxy[..., :2] + boxes_xyxy[..., 2:])[:, :, None] / 2
    held = ((middles >= cells[:, :2]) & (middles < cells[:, 2:])).all(-1) & present[..., None]
    best = alike(anchors[:, :4], boxes_xyxy).where(held, 0).max(2)
    rows = torch.arange(boxes_xyxy.shape[1], device=boxes_xyxy.device).where(best.values > 0, -1)
    return rows.new_full((len(boxes_xyxy), len(anchors)), -1).scatter_reduce(1, best.indices, rows, "amax")


def alike(anchors_xyxy: Tensor, boxes_xyxy: Tensor) -> Tensor:
    """(N, T, A): the IoU of (A, 4) and (N, T, 4) boxes, if they had the same middle."""
    sides = anchors_xyxy[:, 2:] - anchors_xyxy[:, :2]
    shared = torch.minimum(sides, (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2])[:, :, None]).prod(-1)
    return shared / (area(anchors_xyxy) + area(boxes_xyxy)[..., None] - shared)
