"""The second stage of Faster R-CNN (Girshick, ICCV 2015) for N images at once, and nothing that waits."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import MultiScaleRoIAlign, roi_align

from headstart.config.postprocess import Rule
from headstart.data.batch import Detections
from headstart.detectors.coding import clipped, decode, encode
from headstart.detectors.constants import may_ask
from headstart.detectors.interface import Features, Places, take_rows
from headstart.detectors.matching import BELOW_LOW, GroundTruth, match
from headstart.detectors.merging import at, merged
from headstart.detectors.proposals import at_least, box_loss
from headstart.detectors.sampling import balanced_sample

MIN_SIDE = 1e-2
"""Of a detection, in pixels; torchvision's."""


class Regions(RoIHeads):
    """torchvision's layers and thresholds."""

    def outputs(self, features: Features, places: Places) -> tuple[Tensor, Tensor]:
        """Of (N, K, 4) places, the absent ones last: logits (N, K, background + classes), and for each class the box
        codes, (N, K, background + classes, 4)."""
        rows = rows_of(places.present)
        images = rows // places.present.shape[1]
        pool, canvas = self.box_roi_pool, (features.batch.shape[-2], features.batch.shape[-1])
        maps = [level for name, level in features.maps.items() if name in pool.featmap_names]
        pooled = pool_regions(pool, maps, canvas, places.where.flatten(0, 1)[rows], images)
        logits, codes = (spread(found, rows, places.present) for found in self.box_predictor(self.box_head(pooled)))
        return logits, codes.unflatten(-1, (-1, 4))

    def losses(self, features: Features, proposals: Places, objects: GroundTruth) -> dict[str, Tensor]:
        places, matches = self.sampled(proposals, objects)
        logits, codes = self.outputs(features, places)
        positive, count = places.present & (matches >= 0), places.present.sum().clamp(min=1)
        matches = matches.clamp(min=0)
        labels = objects.labels.gather(1, matches).where(positive, 0)
        each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
        wanted = encode(take_rows(objects.boxes_xyxy, matches), places.where, self.box_coder.weights)
        own = codes.gather(2, labels[..., None, None].expand(-1, -1, 1, 4))[:, :, 0]
        return {
            "loss_classifier": each.where(places.present, 0).sum() / count,
            "loss_box_reg": box_loss(own, wanted, positive) / count,
        }

    @torch.no_grad()
    def sampled(self, proposals: Places, objects: GroundTruth) -> tuple[Places, Tensor]:
        """Proposals and objects to learn from, and the row of each one's object, negative where it is background."""
        boxes = torch.cat([proposals.where, objects.boxes_xyxy.to(proposals.where)], dim=1)
        present = torch.cat([proposals.present, objects.present], dim=1)
        matcher, sampler = self.proposal_matcher, self.fg_bg_sampler
        low, high = matcher.low_threshold, matcher.high_threshold
        matches = match(boxes, objects.boxes_xyxy, objects.present, objects.ignored, low=low, high=high)
        found, background = present & (matches >= 0), present & (matches == BELOW_LOW)
        rows, drawn = balanced_sample(found, background, sampler.batch_size_per_image, sampler.positive_fraction)
        return Places(drawn, take_rows(boxes, rows)), matches.gather(1, rows)

    @torch.no_grad()
    def detections(self, features: Features, proposals: Places, rule: Rule) -> Detections:
        """Whose labels begin at 0."""
        logits, codes = self.outputs(features, proposals)
        # Scores sum up to 1, so that no more than these can lie above the threshold.
        most = math.ceil(min(logits.shape[-1] - 1, 1 / max(self.score_thresh, 1e-9)))
        best = logits.softmax(dim=-1)[..., 1:].topk(most)
        codes = codes.gather(2, best.indices[..., None].expand(-1, -1, -1, 4) + 1)
        boxes = decode(codes, proposals.where[:, :, None], self.box_coder.weights).flatten(1, 2)
        boxes, scores = clipped(boxes, features.sizes_hw), best.values.flatten(1)
        above = (best.values > self.score_thresh) & proposals.present[..., None]
        present = above.flatten(1) & at_least(boxes, MIN_SIDE)
        found = Detections(present, boxes, scores, best.indices.flatten(1))
        return merged(found, at(rule, self))


# ------------------------------------------------------------------------------------------ padded and not


def rows_of(present: Tensor) -> Tensor:
    """(R,) int64 of the N * K: those of (N, K) places to compute something of, where absent ones come last.

    On a CPU the present ones, which are counted without waiting, but one at least. Elsewhere all of them, and for each
    absent one a present one of its image again: a normalisation over regions then sees nothing else.
    """
    if may_ask(present.device):
        rows = present.flatten().nonzero()[:, 0]
        return rows if len(rows) else rows.new_zeros(1)
    return all_rows(present)


def all_rows(present: Tensor) -> Tensor:
    images, places = (torch.arange(count, device=present.device) for count in present.shape)
    return (images[:, None] * len(places) + places % present.sum(1, keepdim=True).clamp(min=1)).flatten()


def spread(found: Tensor, rows: Tensor, present: Tensor) -> Tensor:
    """(N, K, …) of (R, …), zeros where there is nothing."""
    if len(rows) != present.numel():
        found = found.new_zeros(present.numel(), *found.shape[1:]).index_copy(0, rows, found)
    return found.unflatten(0, present.shape)


# ------------------------------------------------------------------------------------------------- pooling


def pool_regions(
    pool: MultiScaleRoIAlign, maps: list[Tensor], canvas_hw: tuple[int, int], boxes_xyxy: Tensor, images: Tensor
) -> Tensor:
    """(R, C, 7, 7) of (R, 4) boxes in the images (R,), each from the level of its size (Lin et al., CVPR 2017).

    What `pool` gives, which looks for each level which boxes there are, and waits: here the levels lie under each
    other in one map, and one call pools from them all.
    """
    finest, coarsest = (_halvings(level, canvas_hw) for level in (maps[0], maps[-1]))
    maps = maps[: coarsest - finest + 1]
    sides = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(-1).sqrt()
    level = (pool.canonical_level + torch.log2(sides / pool.canonical_scale) + 1e-6).floor().clamp(finest, coarsest)
    scale = torch.exp2(-level)[:, None]
    ends = torch.cat([scale * side for side in reversed(canvas_hw)], dim=1)
    low = (boxes_xyxy[:, :2] * scale).clamp(min=0).minimum(ends)
    size = ((boxes_xyxy[:, 2:] * scale).minimum(ends) - low).clamp(min=1)  # torchvision's, of one cell or more
    above = torch.stack([(level - finest > i) * (tensor.shape[2] + 1) for i, tensor in enumerate(maps)]).sum(0)
    corner = low.minimum(ends - 1) + torch.stack([torch.zeros_like(above), above], dim=1)
    regions = torch.cat([images[:, None].to(corner), corner, corner + size], dim=1)
    pooled = roi_align(stacked(maps), regions, pool.output_size, 1.0, pool.sampling_ratio)
    inside = _inside(pool, low, size, ends).to(pooled)
    return pooled.mul_((inside[:, 1, :, None] * inside[:, 0, None, :])[:, None])


def stacked(maps: list[Tensor]) -> Tensor:
    """(N, C, H, W) each, under each other in one; their last rows and columns once more, as RoIAlign looks half a cell
    beyond the middle of the last."""
    width = maps[0].shape[3] + 1
    edged = [F.pad(level.contiguous(), (0, width - level.shape[3], 0, 1), mode="replicate") for level in maps]
    return torch.cat(edged, dim=2)


def _inside(pool: MultiScaleRoIAlign, low: Tensor, size: Tensor, ends: Tensor) -> Tensor:
    """(R, 2, 7): which share of each column's and row's points lies on the map. Regions of less than a cell, which are
    made larger, stick out at its end, where torchvision's points count as 0."""
    bins, points = pool.output_size[0], pool.sampling_ratio
    steps = (torch.arange(bins * points, device=low.device) + 0.5) / (bins * points)
    on_map = low[..., None] + size[..., None] * steps <= ends[..., None]
    return on_map.unflatten(-1, (bins, points)).to(low).mean(-1)


def _halvings(level: Tensor, canvas_hw: tuple[int, int]) -> int:
    return round(math.log2(canvas_hw[1] / level.shape[3]))
