"""The first stage of Faster R-CNN (Ren et al., NeurIPS 2015) for N images at once, and nothing that waits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import nms

from headstart.detectors.coding import clipped, decode, encode
from headstart.detectors.interface import Places, take_rows
from headstart.detectors.matching import BELOW_LOW, Objects, match
from headstart.detectors.overlaps import in_blocks, present_iou
from headstart.detectors.sampling import balanced_sample

ROUNDS = 33
"""Of `by_rounds`. Of random networks, and of one in its first steps, all boxes were settled after 13."""


@dataclass(frozen=True)
class Outputs:
    """What the first stage says of the anchors of each level, before sigmoid and decoding."""

    anchors_xyxy: list[Tensor]
    """(A, 4), the same for all images."""
    objectness: list[Tensor]
    """(N, A)."""
    codes: list[Tensor]
    """(N, A, 4)."""


class Proposer(RegionProposalNetwork):
    """torchvision's layers and thresholds."""

    def outputs(self, maps: list[Tensor], anchors_xyxy: Tensor) -> Outputs:
        objectness, codes = self.head(maps)
        logits = [_in_order(level, 1).squeeze(-1) for level in objectness]
        by_level = list(anchors_xyxy.split([level.shape[1] for level in logits]))
        return Outputs(by_level, logits, [_in_order(level, 4) for level in codes])

    @torch.no_grad()
    def proposals(self, outputs: Outputs, sizes_hw: Tensor, purpose: str) -> Places:
        """Best first; `purpose`, "training" or "testing", says how many there may be."""
        levels = zip(outputs.anchors_xyxy, outputs.objectness, outputs.codes, strict=True)
        found = [self._of_level(*level, sizes_hw, self._pre_nms_top_n[purpose]) for level in levels]
        boxes, scores = (torch.cat(tensors, dim=1) for tensors in zip(*found, strict=True))
        best = scores.topk(min(self._post_nms_top_n[purpose], scores.shape[1]))
        return Places(best.values >= 0, take_rows(boxes, best.indices))

    def _of_level(
        self, anchors: Tensor, objectness: Tensor, codes: Tensor, sizes_hw: Tensor, most: int
    ) -> tuple[Tensor, Tensor]:
        """(N, K, 4) boxes of one level's best anchors, and their (N, K) scores, -1 of those that are none."""
        best = objectness.topk(min(most, objectness.shape[1]))
        boxes = decode(take_rows(codes, best.indices), anchors[best.indices], self.box_coder.weights)
        boxes, scores = clipped(boxes, sizes_hw), best.values.sigmoid()
        present = at_least(boxes, self.min_size) & (scores >= self.score_thresh)
        return boxes, scores.where(staying(boxes, present, self.nms_thresh), -1)

    def losses(self, outputs: Outputs, objects: Objects) -> dict[str, Tensor]:
        anchors = torch.cat(outputs.anchors_xyxy)
        matcher, sampler = self.proposal_matcher, self.fg_bg_sampler
        low, high = matcher.low_threshold, matcher.high_threshold
        known = objects.boxes_xyxy, objects.present, objects.ignored
        matches = match(anchors, *known, low=low, high=high, allow_low_quality=True)
        rows, drawn = balanced_sample(
            matches >= 0, matches == BELOW_LOW, sampler.batch_size_per_image, sampler.positive_fraction
        )
        matches, count = matches.gather(1, rows), drawn.sum().clamp(min=1)
        positive = drawn & (matches >= 0)
        logits = torch.cat(outputs.objectness, dim=1).gather(1, rows)
        each = F.binary_cross_entropy_with_logits(logits, positive.to(logits), reduction="none")
        boxes = take_rows(objects.boxes_xyxy, matches.clamp(min=0))
        wanted = encode(boxes, anchors[rows], self.box_coder.weights)
        codes = take_rows(torch.cat(outputs.codes, dim=1), rows)
        return {
            "loss_objectness": each.where(drawn, 0).sum() / count,
            "loss_rpn_box_reg": box_loss(codes, wanted, positive) / count,
        }


def box_loss(codes: Tensor, wanted: Tensor, positive: Tensor) -> Tensor:
    """Sum over the `positive` (N, K) of (N, K, 4) codes; what is wanted of the others may be no number."""
    each = F.smooth_l1_loss(codes, wanted.where(positive[..., None], 0), beta=1 / 9, reduction="none")
    return each.where(positive[..., None], 0).sum()


def staying(boxes_xyxy: Tensor, present: Tensor, iou_threshold: float) -> Tensor:
    """(N, K) bool: which of each image's (N, K, 4) boxes, best first, stay in non-maximum suppression.

    On a CPU by torchvision's own loop, as there is nothing to wait for; elsewhere `by_rounds`, for the library's
    operator waits for the number of those that stay.
    """
    found = by_library if boxes_xyxy.device.type == "cpu" else by_rounds
    return found(boxes_xyxy, present, iou_threshold)


def by_library(boxes_xyxy: Tensor, present: Tensor, iou_threshold: float) -> Tensor:
    kept = torch.zeros_like(present)
    falling = torch.arange(boxes_xyxy.shape[1], 0, -1, device=boxes_xyxy.device, dtype=boxes_xyxy.dtype)
    for boxes, here, keep in zip(boxes_xyxy, present, kept, strict=True):
        rows = here.nonzero()[:, 0]
        keep[rows[nms(boxes[rows], falling[rows], iou_threshold)]] = True
    return kept


def by_rounds(boxes_xyxy: Tensor, present: Tensor, iou_threshold: float) -> Tensor:
    """In each round those stay that meet no better one which stayed in the round before. What is not settled after
    all of them goes: an odd number of rounds leaves no two that meet."""

    def rule(boxes: Tensor, same: Tensor, present: Tensor) -> Tensor:
        better = (present_iou(boxes, same, present) > iou_threshold).triu_(1).to(torch.bfloat16)
        kept = present
        for _ in range(ROUNDS):
            kept = present & (kept.to(better)[:, None] @ better == 0)[:, 0]
        return kept

    return in_blocks(rule, boxes_xyxy, boxes_xyxy, present)


def at_least(boxes_xyxy: Tensor, side: float) -> Tensor:
    """(…) bool: whose width and height are `side` or more."""
    return (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2] >= side).all(-1)


def _in_order(level: Tensor, values: int) -> Tensor:
    """(N, anchors of a cell * values, h, w) as (N, A, values): cell after cell."""
    return level.unflatten(1, (-1, values)).permute(0, 3, 4, 1, 2).flatten(1, 3)
