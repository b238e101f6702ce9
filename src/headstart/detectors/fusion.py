"""Weighted boxes fusion (Solovyev et al., Image and Vision Computing 2021) of a whole batch, without waiting."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.config.postprocess import Rule
from headstart.data.batch import Detections
from headstart.detectors.suppression import best_of

MOST = 1000
"""Candidates of an image that are fused, the best ones: each takes a round of its own."""


@dataclass
class Clusters:
    """What is one object so far: (N, K) each, the first `used` of each image."""

    weighted: Tensor
    """(N, K, 4) float64: the sum of its boxes, each times its score."""
    scores: Tensor
    """Their sum, float64."""
    count: Tensor
    labels: Tensor
    """-1 where there is none yet."""
    used: Tensor
    """(N, 1)"""

    @classmethod
    def none(cls, images: int, rows: int, device: torch.device) -> Clusters:
        zeros = torch.zeros(images, rows, device=device, dtype=torch.float64)
        counts = torch.zeros(images, rows, device=device, dtype=torch.int64)
        return cls(zeros[..., None].repeat(1, 1, 4), zeros, counts, counts - 1, counts[:, :1].clone())

    @property
    def boxes_xyxy(self) -> Tensor:
        return self.weighted / self.scores.clamp(min=1e-12)[..., None]

    def take_in(self, one: Detections, rule: Rule) -> None:
        """A box (N, 1) of each image: it joins the cluster of its class that it overlaps most, or begins one."""
        box, score = one.boxes_xyxy.double(), one.scores.double()
        same = self.labels >= 0 if rule.class_agnostic else self.labels == one.labels
        iou = _iou(self.boxes_xyxy, box).where(same, -1)
        best = iou.max(1, keepdim=True)
        joins = best.values > rule.iou_threshold
        place = torch.where(joins, best.indices, self.used)
        here = (torch.arange(iou.shape[1], device=iou.device) == place) & one.present
        self.weighted = self.weighted + (score[..., None] * box).where(here[..., None], 0)
        self.scores = self.scores + score.where(here, 0)
        self.count = self.count + here
        self.labels = self.labels.where(~here | (self.labels >= 0), one.labels)
        self.used = self.used + (one.present & ~joins)


def fused(candidates: Detections, rule: Rule, most: int, sources: int = 1) -> Detections:
    """At most `most` rows: the mean of the boxes that are of one object, weighted by score.

    The score is the mean of theirs, and less where fewer than the `sources` (views, or networks) have found it: then
    it may lie below the threshold, which is for what is fused.
    """
    ranked = best_of(candidates, MOST)
    rows = ranked.present.shape[1]
    if ranked.present.device.type == "cpu":  # nothing to wait for
        rows = int(ranked.present.sum(1).max())
    clusters = Clusters.none(len(ranked.present), max(rows, 1), ranked.present.device)
    for row in range(rows):
        clusters.take_in(ranked.map(lambda tensor, row=row: tensor[:, row : row + 1]), rule)
    share = clusters.count.clamp(max=sources) / sources
    scores = clusters.scores / clusters.count.clamp(min=1) * share
    found = Detections(clusters.count > 0, clusters.boxes_xyxy.float(), scores.float(), clusters.labels)
    return best_of(found, most)


def _iou(boxes_xyxy: Tensor, box_xyxy: Tensor) -> Tensor:
    """(N, K) of (N, K, 4) and (N, 1, 4); 0 where neither has an area."""
    low, high = (
        torch.maximum(boxes_xyxy[..., :2], box_xyxy[..., :2]),
        torch.minimum(boxes_xyxy[..., 2:], box_xyxy[..., 2:]),
    )
    shared = (high - low).clamp(min=0).prod(-1)
    areas = ((boxes[..., 2:] - boxes[..., :2]).prod(-1) for boxes in (boxes_xyxy, box_xyxy))
    return (shared / (sum(areas) - shared)).nan_to_num(0)
