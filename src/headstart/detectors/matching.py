"""Which box each candidate (anchor, default box, proposal) goes to, for N images at once, and nothing that waits.

The rules are those of torchvision's `Matcher` and `SSDMatcher`. Candidates are (A, 4), the same of all images, or
(N, A, 4); boxes are (N, T, 4), of which (N, T) `present` tells those that count from padding, and `ignored` those in
which nothing is background (`ignored.py`). Tables are made in blocks of images (`overlaps.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.data.batch import Padded
from headstart.detectors.ignored import mostly_shared
from headstart.detectors.interface import take_rows
from headstart.detectors.overlaps import in_blocks, iou_of_shared, shared_area

BELOW_LOW = -1
"""Background."""
BETWEEN = -2
"""Between the thresholds: neither object nor background."""
IGNORED = -3
"""It would be one of these, and lies in an ignored box."""


@dataclass(frozen=True)
class Objects(Padded):
    """What N images teach. `present`: to be learnt; neither padding nor ignored, and with an area."""

    boxes_xyxy: Tensor
    """(N, T, 4), float32 or finer."""
    labels: Tensor
    """(N, T) int64: rows of the head."""
    ignored: Tensor
    """(N, T) bool: what lies in these is not told to be background."""


@dataclass(frozen=True)
class Wanted:
    """What is wanted of each of (N, A) candidates, as (N, A) matches say."""

    found: Tensor
    """bool: it is of an object."""
    labels: Tensor
    """int64; of any object where there is none."""
    boxes_xyxy: Tensor
    """(N, A, 4); the candidate itself where there is none: no code is infinite."""

    @classmethod
    def of(cls, matches: Tensor, candidates_xyxy: Tensor, objects: Objects) -> Wanted:
        found, rows = matches >= 0, matches.clamp(min=0)
        boxes = take_rows(objects.boxes_xyxy, rows).where(found[..., None], candidates_xyxy)
        return cls(found, take_rows(objects.labels, rows), boxes)


@torch.no_grad()
def match(
    candidates_xyxy: Tensor,
    boxes_xyxy: Tensor,
    present: Tensor,
    ignored: Tensor | None = None,
    *,
    low: float,
    high: float,
    allow_low_quality: bool = False,
) -> Tensor:
    """(N, A) int64: the row of the box of highest IoU, the first of equals, where that is `high` or more; `BETWEEN`
    from `low` on, else `BELOW_LOW`; `IGNORED` instead of these two in an ignored box.

    `allow_low_quality`: a candidate whose IoU with any box is the highest that this box has gets its own best box
    whatever the IoU, as torchvision's `Matcher`; a box that meets no candidate then gives one to every candidate that
    it does not meet.
    """

    def rule(table: Tensor, present: Tensor) -> Tensor:
        best = table.max(dim=1)
        matches = torch.where(best.values < high, BETWEEN, best.indices)
        matches = torch.where(best.values < low, BELOW_LOW, matches)
        if not allow_low_quality:
            return matches
        highest = table.amax(dim=2).masked_fill(~present, torch.inf)
        return torch.where((table == highest[..., None]).any(dim=1), best.indices, matches)

    return _matched(rule, candidates_xyxy, boxes_xyxy, present, ignored)


@torch.no_grad()
def match_ssd(
    candidates_xyxy: Tensor, boxes_xyxy: Tensor, present: Tensor, ignored: Tensor | None = None, *, threshold: float
) -> Tensor:
    """(N, A) int64: as `match` with one threshold, then each box's best candidate, the first of equals, goes to it;
    the last of several boxes gets it, as with torchvision's `SSDMatcher`."""

    def rule(table: Tensor, present: Tensor) -> Tensor:
        best = table.max(dim=1)
        matches = torch.where(best.values < threshold, BELOW_LOW, best.indices)
        rows = torch.arange(table.shape[1], device=table.device).where(present, -1)
        forced = torch.full_like(matches, -1).scatter_reduce(1, table.argmax(dim=2), rows, "amax")
        return torch.where(forced < 0, matches, forced)

    return _matched(rule, candidates_xyxy, boxes_xyxy, present, ignored)


def _matched(
    rule: Callable[[Tensor, Tensor], Tensor], candidates_xyxy: Tensor, boxes_xyxy: Tensor, *padded: Tensor | None
) -> Tensor:
    """By `rule(table of IoU, present)`, and the rule of ignored boxes: both know the same areas."""

    def of_block(candidates: Tensor, boxes: Tensor, present: Tensor, *ignored: Tensor) -> Tensor:
        shared = shared_area(candidates, boxes)
        held = [mostly_shared(shared.where(here[..., None], 0), candidates) for here in ignored]
        matches = rule(iou_of_shared(shared, candidates, boxes, present), present)
        for here in held:
            matches = torch.where(here & (matches < 0), IGNORED, matches)
        return matches

    return in_blocks(of_block, candidates_xyxy, boxes_xyxy, *(rows for rows in padded if rows is not None))
