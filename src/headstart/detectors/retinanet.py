"""RetinaNet (Lin et al., ICCV 2017) and torchvision's v2 of it (Zhang et al., CVPR 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.retinanet import RetinaNet, RetinaNetHead
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from headstart.config.schema import BackboneConfig, BoxLoss, ClassLoss, RetinaNetConfig, Variant
from headstart.detectors.anchors import RATIOS, retinanet, scale_of
from headstart.detectors.box_losses import BY_OVERLAP, iou
from headstart.detectors.coding import decode, encode
from headstart.detectors.dense_losses import focal, quality_focal
from headstart.detectors.interface import ClassAxis
from headstart.detectors.matching import BELOW_LOW, GroundTruth, Wanted, match
from headstart.detectors.necks import FpnBackbone
from headstart.detectors.pretrained import default_preprocessing
from headstart.detectors.torchvision_base import OneStageDetector
from headstart.detectors.vit import pyramid_body
from headstart.detectors.widths import NORM_GROUPS, keep_gain, refuse_width

ANCHORS_PER_CELL = 9


class RetinaNetDetector(OneStageDetector, RetinaNet):
    """torchvision's RetinaNet; its head has a row per class and none for the background."""

    def __init__(self, config: RetinaNetConfig, backbone: BackboneConfig, class_names: Sequence[str]) -> None:
        width, v2 = backbone.neck_channels, config.variant is Variant.v2
        if v2:
            refuse_width(width, "model=retinanet model.variant=v2")
        body = pyramid_body(backbone, (8, 16, 32))
        extra = LastLevelP6P7(body.channels[-1] if v2 else width, width)
        head = RetinaNetHead(
            width, ANCHORS_PER_CELL, len(class_names), norm_layer=partial(nn.GroupNorm, NORM_GROUPS) if v2 else None
        )
        head.regression_head._loss_type = (config.box_loss or (BoxLoss.giou if v2 else BoxLoss.l1)).value
        keep_gain(head.classification_head.conv)
        keep_gain(head.regression_head.conv)
        RetinaNet.__init__(
            self,
            FpnBackbone(config, body, width, extra),
            anchor_generator=_anchors(scale_of(config)),
            head=head,
            num_classes=len(class_names),
            score_thresh=config.score_threshold,
            nms_thresh=config.nms_threshold,
            detections_per_img=config.detections_per_image,
        )
        self._by_quality = config.class_loss is ClassLoss.quality_focal
        self._set_up(config, body, class_names, default_preprocessing(backbone))

    def losses_of(self, outputs: dict[str, Tensor], anchors_xyxy: Tensor, objects: GroundTruth) -> dict[str, Tensor]:
        """Each image's over its own objects' anchors, then the mean of the images."""
        matches = self._matches(anchors_xyxy, objects)
        wanted = Wanted.of(matches, anchors_xyxy, objects)
        codes = outputs["bbox_regression"].where(wanted.found[..., None], 0)
        classes = self._of_classes(outputs["cls_logits"], codes, anchors_xyxy, wanted)
        boxes = self._of_boxes(codes, anchors_xyxy, wanted.boxes_xyxy)
        count = wanted.found.sum(1).clamp(min=1)
        return {
            "classification": (classes.where(matches >= BELOW_LOW, 0).sum(1) / count).mean(),
            "bbox_regression": (boxes.where(wanted.found, 0).sum(1) / count).mean(),
        }

    def _matches(self, anchors_xyxy: Tensor, objects: GroundTruth) -> Tensor:
        rule: Matcher = self.proposal_matcher
        low, high, low_quality = rule.low_threshold, rule.high_threshold, rule.allow_low_quality_matches
        boxes = objects.boxes_xyxy, objects.present, objects.ignored
        return match(anchors_xyxy, *boxes, low=low, high=high, allow_low_quality=low_quality)

    def _of_classes(self, logits: Tensor, codes: Tensor, anchors_xyxy: Tensor, wanted: Wanted) -> Tensor:
        """(N, A)"""
        if not self._by_quality:
            return focal(logits, wanted.labels, wanted.found)
        quality = iou(decode(codes.detach(), anchors_xyxy, self.box_coder.weights), wanted.boxes_xyxy)
        return quality_focal(logits, wanted.labels, wanted.found, quality)

    def _of_boxes(self, codes: Tensor, anchors_xyxy: Tensor, wanted_xyxy: Tensor) -> Tensor:
        """(N, A)"""
        regression: Any = self.head.get_submodule("regression_head")
        kind, weights = regression._loss_type, self.box_coder.weights
        if kind in BY_OVERLAP:
            return BY_OVERLAP[kind](decode(codes, anchors_xyxy, weights), wanted_xyxy)
        apart = (codes - encode(wanted_xyxy, anchors_xyxy, weights)).abs()
        return (rounded(apart) if kind == BoxLoss.smooth_l1.value else apart).sum(-1)

    def class_axes(self) -> list[ClassAxis]:
        logits = "head.classification_head.cls_logits"
        return [ClassAxis(f"{logits}.{part}", anchors=ANCHORS_PER_CELL) for part in ("weight", "bias")]

    def predictors(self) -> tuple[str, ...]:
        return ("head.classification_head.cls_logits", "head.regression_head.bbox_reg")


def _anchors(scale: float) -> AnchorGenerator:
    """Those of `anchors.retinanet`, times `scale`; whole pixels where scale is 1."""
    sizes = tuple(tuple(size * scale for size in level.sizes) for level in retinanet())
    return AnchorGenerator(sizes, (RATIOS,) * len(sizes))


def rounded(apart: Tensor) -> Tensor:
    """Smooth L1 (Girshick, ICCV 2015) of absolute differences, round below 1 / 9 as torchvision's of proposals."""
    return F.smooth_l1_loss(apart, torch.zeros_like(apart), beta=1 / 9, reduction="none")
