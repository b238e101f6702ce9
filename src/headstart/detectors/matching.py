"""Which box each candidate (anchor, default box, proposal) goes to, for N images at once, and nothing that waits.

The rules are those of torchvision's `Matcher` and `SSDMatcher`. Candidates are (A, 4), the same of all images, or
(N, A, 4); boxes are (N, T, 4), of which `present` (N, T) tells those that count from padding. Tables are (N, T, A) and
are made for so many images at a time that they have no more than `MOST_ELEMENTS`, or for one image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.data.batch import Padded

BELOW_LOW = -1
"""Background."""
BETWEEN = -2
"""Between the thresholds: neither object nor background."""
MOST_ELEMENTS = 2**26
"""Of a table: 256 MiB in float32."""


@dataclass(frozen=True)
class Objects(Padded):
    """What N images teach. `present`: to be learnt; neither padding nor ignored, and with an area."""

    boxes_xyxy: Tensor
    """(N, T, 4), float32 or finer."""
    labels: Tensor
    """(N, T) int64: rows of the head."""
    ignored: Tensor
    """(N, T) bool: what lies in these is not told to be background."""


@torch.no_grad()
def match(
    candidates_xyxy: Tensor,
    boxes_xyxy: Tensor,
    present: Tensor,
    *,
    low: float,
    high: float,
    allow_low_quality: bool = False,
) -> Tensor:
    """(N, A) int64: the row of the box of highest IoU, the first of equals, where that is `high` or more; `BETWEEN`
    from `low` on, else `BELOW_LOW`.

    `allow_low_quality`: a candidate whose IoU with any box is the highest that this box has gets its own best box
    whatever the IoU, as torchvision's `Matcher`; a box that meets no candidate then gives one to every candidate that
    it does not meet.
    """

    def rule(candidates: Tensor, boxes: Tensor, present: Tensor) -> Tensor:
        table = present_iou(candidates, boxes, present)
        best = table.max(dim=1)
        matches = torch.where(best.values < high, BETWEEN, best.indices)
        matches = torch.where(best.values < low, BELOW_LOW, matches)
        if not allow_low_quality:
            return matches
        highest = table.amax(dim=2, keepdim=True)
        return torch.where(((table == highest) & present[..., None]).any(dim=1), best.indices, matches)

    return in_blocks(rule, candidates_xyxy, boxes_xyxy, present)


@torch.no_grad()
def match_ssd(candidates_xyxy: Tensor, boxes_xyxy: Tensor, present: Tensor, *, threshold: float) -> Tensor:
    """(N, A) int64: as `match` with one threshold, then each box's best candidate, the first of equals, goes to it;
    the last of several boxes gets it, as with torchvision's `SSDMatcher`."""

    def rule(candidates: Tensor, boxes: Tensor, present: Tensor) -> Tensor:
        table = present_iou(candidates, boxes, present)
        best = table.max(dim=1)
        matches = torch.where(best.values < threshold, BELOW_LOW, best.indices)
        rows = torch.arange(boxes.shape[1], device=boxes.device).where(present, -1)
        forced = torch.full_like(matches, -1).scatter_reduce(1, table.argmax(dim=2), rows, "amax")
        return torch.where(forced < 0, matches, forced)

    return in_blocks(rule, candidates_xyxy, boxes_xyxy, present)


def present_iou(candidates_xyxy: Tensor, boxes_xyxy: Tensor, present: Tensor) -> Tensor:
    """(N, T, A), and -1 of absent boxes, so that any other is better."""
    shared = shared_area(candidates_xyxy, boxes_xyxy)
    union = area(boxes_xyxy)[..., None] + area(candidates_xyxy)[..., None, :] - shared
    return (shared / union).where(present[..., None], -1)


def shared_area(candidates_xyxy: Tensor, boxes_xyxy: Tensor) -> Tensor:
    """(N, T, A): the area that boxes and candidates have in common."""
    left, top, right, bottom = candidates_xyxy[..., None, :, :].unbind(-1)
    of_left, of_top, of_right, of_bottom = boxes_xyxy[..., :, None, :].unbind(-1)
    width = (torch.minimum(right, of_right) - torch.maximum(left, of_left)).clamp_(min=0)
    height = (torch.minimum(bottom, of_bottom) - torch.maximum(top, of_top)).clamp_(min=0)
    return width.mul_(height)


def area(boxes_xyxy: Tensor) -> Tensor:
    left, top, right, bottom = boxes_xyxy.unbind(-1)
    return (right - left) * (bottom - top)


def in_blocks(rule: Callable[..., Tensor], candidates_xyxy: Tensor, boxes_xyxy: Tensor, *padded: Tensor) -> Tensor:
    """`rule(candidates, boxes, *padded)` of all images, or of a few at a time and put together."""
    images, table = len(boxes_xyxy), boxes_xyxy.shape[1] * candidates_xyxy.shape[-2]
    several = max(1, MOST_ELEMENTS // max(1, table))
    if several >= images:
        return rule(candidates_xyxy, boxes_xyxy, *padded)
    parts = [tensor.split(several) for tensor in (boxes_xyxy, *padded)]
    shared = candidates_xyxy.ndim == 2
    of_blocks = [candidates_xyxy] * len(parts[0]) if shared else candidates_xyxy.split(several)
    return torch.cat([rule(*block) for block in zip(of_blocks, *parts, strict=True)])
