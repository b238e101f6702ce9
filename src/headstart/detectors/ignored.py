"""Ignored objects in the losses: whoever finds one is not told that it is background.

One rule for every architecture: a candidate (anchor, cell, default box, proposal) that would be background leaves the
loss where at least half of its own area lies in one ignored box. That is COCO's measure for its crowds, and it takes
in every candidate that the object would have claimed with an IoU of a half, had it been labelled.
"""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.detectors.overlaps import area, in_blocks, shared_area

SHARE = 0.5
"""Of a candidate's own area."""


def in_ignored(candidates_xyxy: Tensor, ignored_xyxy: Tensor) -> Tensor:
    """(…, A) bool: which of (…, A, 4) candidates lie, for the most part, in one of (…, G, 4) boxes.

    The whole candidate counts, with what sticks out of the picture. Boxes without area hold nothing.
    """
    return mostly_shared(shared_area(candidates_xyxy, ignored_xyxy), candidates_xyxy)


def mostly_shared(shared: Tensor, candidates_xyxy: Tensor) -> Tensor:
    """(…, A) bool: whether any of (…, T, A) shared areas is at least `SHARE` of the candidate's own."""
    if shared.shape[-2] == 0:
        return shared.sum(-2) > 0
    most = shared.amax(-2)
    return (most > 0) & (most >= SHARE * area(candidates_xyxy))


@torch.no_grad()
def left_out(background: Tensor, candidates_xyxy: Tensor, boxes_xyxy: Tensor, ignored: Tensor) -> Tensor:
    """(N, A) bool: what leaves the loss of what would be `background`, (N, A) bool.

    Candidates are (A, 4) or (N, A, 4), and of (N, T, 4) boxes those count that (N, T) `ignored` names.
    """
    held = in_blocks(in_ignored, candidates_xyxy, boxes_xyxy.where(ignored[..., None], 0))
    return background & held
