"""What becomes of several detections of one object."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Optional


class Method(Enum):
    nms = "nms"  # the best stays, and what overlaps it goes
    soft_nms = "soft_nms"  # what overlaps a better one scores less: times exp(-IoU² / sigma) (Bodla et al., ICCV 2017)
    soft_nms_linear = "soft_nms_linear"  # times 1 - IoU, above the threshold (the same paper)
    weighted_boxes_fusion = "weighted_boxes_fusion"  # the mean of boxes and scores (Solovyev et al., 2021)
    none = "none"  # all stay, up to max_detections


class Flip(Enum):
    horizontal = "horizontal"
    vertical = "vertical"


@dataclass
class PostprocessConfig:
    """How a detector's boxes become its detections, in validation and after training; no loss knows of it.

    null: as the run had it, where a finished one is measured again; else what each line says."""

    method: Optional[Method] = None
    """null: nms. nms: of two detections with a higher IoU than the threshold the better stays; soft_nms: it stays as it
    is, and the other scores exp(-IoU² / sigma) times as much; soft_nms_linear: 1 - IoU times as much, above the
    threshold; weighted_boxes_fusion: they become their mean, weighted by score; none: both stay."""
    iou_threshold: Optional[float] = None
    """null: model.nms_threshold."""
    score_threshold: Optional[float] = None
    """null: model.score_threshold. soft_nms wants a low one, such as 0.001: it lowers scores."""
    max_detections: Optional[int] = None
    """Of a picture; null: model.detections_per_image."""
    class_agnostic: Optional[bool] = None
    """Whether detections of different classes are taken for one object, too; null: false."""
    sigma: Optional[float] = None
    """Of soft_nms: how wide its Gaussian is; null: 0.5."""
    flips: Optional[list[Flip]] = None
    """Test-time augmentation: the picture is looked at mirrored, too, `[horizontal]` or `[horizontal,vertical]`; null:
    none."""
    scales: Optional[list[float]] = None
    """Test-time augmentation: the picture as the network sees it, enlarged or reduced so many times, too, each with its
    mirrored views; `[0.75,1.5]`; null: none."""
    across: Optional[Method] = None
    """How the detections of these views, and of an ensemble's runs, become one; null: weighted_boxes_fusion."""
