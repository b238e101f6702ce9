"""Ignored objects in the losses: whoever finds one is not told that it is background.

One rule for every architecture: a candidate (anchor, cell, default box, proposal) that would be background leaves the
loss where at least half of its own area lies in one ignored box. That is COCO's measure for its crowds, and it takes
in every candidate that the object would have claimed with an IoU of a half, had it been labelled.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from headstart.detectors.matching import area, in_blocks, shared_area

SHARE = 0.5
"""Of a candidate's own area."""


def in_ignored(candidates_xyxy: Tensor, ignored_xyxy: Tensor) -> Tensor:
    """(…, A) bool: which of (…, A, 4) candidates lie, for the most part, in one of (…, G, 4) boxes.

    The whole candidate counts, with what sticks out of the picture. Boxes without area hold nothing.
    """
    shared = shared_area(candidates_xyxy, ignored_xyxy)
    return ((shared > 0) & (shared >= SHARE * area(candidates_xyxy)[..., None, :])).any(-2)


@torch.no_grad()
def left_out(background: Tensor, candidates_xyxy: Tensor, boxes_xyxy: Tensor, ignored: Tensor) -> Tensor:
    """(N, A) bool: what leaves the loss of what would be `background`, (N, A) bool.

    Candidates are (A, 4) or (N, A, 4), and of (N, T, 4) boxes those count that (N, T) `ignored` names.
    """
    held = in_blocks(in_ignored, candidates_xyxy, boxes_xyxy.where(ignored[..., None], 0))
    return background & held


def spared(background: list[Tensor], candidates: list[Tensor], targets: list[dict[str, Tensor]]) -> list[Tensor]:
    """For each image (A,) bool: what leaves the loss of what would be `background`, (A,) bool."""
    images = zip(background, candidates, targets, strict=True)
    return [would_be & in_ignored(boxes, target["ignored"]) for would_be, boxes, target in images]


class SparesIgnored:
    """In front of torchvision's dense losses, which know objects and background and nothing between.

    The class logits of what leaves the loss become those of certain background: loss and gradient are 0, and hard
    negative mining ranks it last.
    """

    background = 0
    """1 where the logits have a row for the background."""

    def compute_loss(
        self,
        targets: list[dict[str, Tensor]],
        head_outputs: dict[str, Tensor],
        anchors: list[Tensor],
        matched_idxs: list[Tensor],
    ) -> dict[str, Tensor]:
        above: Any = super()
        outputs = self.sparing(targets, head_outputs, anchors, matched_idxs)
        return above.compute_loss(targets, outputs, anchors, matched_idxs)

    def sparing(
        self,
        targets: list[dict[str, Tensor]],
        head_outputs: dict[str, Tensor],
        anchors: list[Tensor],
        matched_idxs: list[Tensor],
    ) -> dict[str, Tensor]:
        """`head_outputs`, certain where something leaves the loss."""
        if not any(len(target["ignored"]) for target in targets):
            return head_outputs
        here = torch.stack(spared([match < 0 for match in matched_idxs], anchors, targets))
        return {**head_outputs, "cls_logits": self._certain(head_outputs["cls_logits"], here)}

    def _certain(self, logits: Tensor, here: Tensor) -> Tensor:
        """(N, A, background + classes), changed where (N, A) `here` says so."""
        of_class = torch.arange(logits.shape[-1], device=logits.device) >= self.background
        return logits.masked_fill(here[..., None] & of_class, torch.finfo(logits.dtype).min)
