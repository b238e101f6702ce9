"""Architecture -> detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from headstart.config.postprocess import rule_of, with_thresholds
from headstart.config.schema import (
    Architecture,
    BackboneConfig,
    ModelConfig,
    PostprocessConfig,
    SSDConfig,
    SSDVariant,
)
from headstart.detectors.detr import QueryDetector
from headstart.detectors.extension import build_extension
from headstart.detectors.faster_rcnn import FasterRCNNDetector
from headstart.detectors.fcos import FCOSDetector
from headstart.detectors.interface import Detector
from headstart.detectors.narrow import widen_narrow_maps
from headstart.detectors.retinanet import RetinaNetDetector
from headstart.detectors.ssd import SSDDetector
from headstart.detectors.ssd_tf import TfSSDDetector
from headstart.detectors.ssdlite import SSDLiteDetector
from headstart.detectors.yolov3 import YOLOv3Detector
from headstart.detectors.yolox import YOLOXDetector
from headstart.errors import UserError


def _ssd(config: SSDConfig, backbone: BackboneConfig, class_names: Sequence[str]) -> Detector:
    detector = TfSSDDetector if config.variant is SSDVariant.tf else SSDDetector
    return detector(config, backbone, class_names)


DETECTORS: dict[Architecture, Callable[[Any, BackboneConfig, Sequence[str]], Detector]] = {
    Architecture.retinanet: RetinaNetDetector,
    Architecture.faster_rcnn: FasterRCNNDetector,
    Architecture.fcos: FCOSDetector,
    Architecture.ssd: _ssd,
    Architecture.ssdlite: SSDLiteDetector,
    Architecture.extension: build_extension,
    Architecture.yolov3: YOLOv3Detector,
    Architecture.yolox: YOLOXDetector,
    Architecture.d_fine: QueryDetector,
    Architecture.rt_detr: QueryDetector,
}


def build_detector(
    model: ModelConfig,
    backbone: BackboneConfig,
    class_names: Sequence[str],
    postprocess: Sequence[PostprocessConfig] = (),
) -> Detector:
    """Randomly initialised, every parameter trainable; downloads nothing. Raises `UserError` without classes.

    Of `postprocess` a later one goes before an earlier one, and each before `model`.
    """
    if not class_names:
        raise UserError("the data set has no classes: there is nothing to detect")
    rule = rule_of(model, *postprocess)
    detector = DETECTORS[model.architecture](with_thresholds(model, rule), backbone, class_names)
    detector.rule = rule
    widen_narrow_maps(detector)
    return detector
