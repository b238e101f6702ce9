"""Several detections of one object become one: of a batch at once, by any method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from headstart.config.postprocess import Rule
from headstart.config.schema import Method
from headstart.data.batch import Detections
from headstart.detectors.fusion import fused
from headstart.detectors.suppression import best_of, softened, suppressed


def merged(candidates: Detections, rule: Rule, sources: int = 1) -> Detections:
    """At most `rule.max_detections` rows, best first, of (N, M) candidates in any order. Waits for no device.

    `sources`: how many views or networks they are of; fusion counts who has not found an object.
    """
    if rule.method is Method.nms:
        return suppressed(candidates, rule.iou_threshold, rule.max_detections, rule.class_agnostic)
    most: Any = torch.sym_min(rule.max_detections, candidates.scores.shape[1])
    if rule.method is Method.none:
        return best_of(candidates, most)
    if rule.method is Method.weighted_boxes_fusion:
        return fused(candidates, rule, most, sources)
    return softened(candidates, rule, most)


def at(rule: Rule, part: Any) -> Rule:
    """With the thresholds of `part` of a network, where torchvision keeps them."""
    return replace(
        rule,
        iou_threshold=part.nms_thresh,
        score_threshold=part.score_thresh,
        max_detections=part.detections_per_img,
    )
