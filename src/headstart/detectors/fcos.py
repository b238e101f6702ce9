"""FCOS (Tian et al., ICCV 2019): no anchors, a box from every cell inside an object."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.fcos import FCOS, FCOSHead
from torchvision.models.detection.image_list import ImageList
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from headstart.config.schema import BackboneConfig, FCOSConfig
from headstart.detectors.backbones import build_body
from headstart.detectors.ignored import SparesIgnored
from headstart.detectors.interface import ClassAxis
from headstart.detectors.pretrained import default_preprocessing
from headstart.detectors.torchvision_base import FpnBackbone, OneStageDetector, refuse_width


class Head(SparesIgnored, FCOSHead):
    """torchvision's; background in an ignored box leaves the loss. A cell's area is that of its anchor: a square as
    wide as the stride."""


class FCOSDetector(OneStageDetector, FCOS):
    """torchvision's FCOS; its head has a row per class and none for the background."""

    def __init__(self, config: FCOSConfig, backbone: BackboneConfig, class_names: Sequence[str]) -> None:
        width = backbone.neck_channels
        refuse_width(width, "model=fcos")
        body = build_body(backbone, (8, 16, 32))
        network = FpnBackbone(body.module, body.channels, width, LastLevelP6P7(width, width))
        FCOS.__init__(
            self,
            network,
            num_classes=len(class_names),
            head=Head(width, 1, len(class_names)),
            score_thresh=config.score_threshold,
            nms_thresh=config.nms_threshold,
            detections_per_img=config.detections_per_image,
        )
        self._set_up(config, body, class_names, default_preprocessing(backbone))

    def _losses(
        self, batch: ImageList, features: OrderedDict[str, Tensor], targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        cells = [level.shape[-2] * level.shape[-1] for level in features.values()]
        outputs, anchors = self._outputs(batch, features)
        return self.compute_loss(targets, outputs, anchors, cells)

    def _scores(self, outputs: dict[str, Tensor]) -> Tensor:
        return torch.sqrt(super()._scores(outputs) * outputs["bbox_ctrness"].sigmoid())

    def _decoded(self, codes: Tensor, anchors_xyxy: Tensor) -> Tensor:
        return self.box_coder.decode(codes, anchors_xyxy)

    def class_axes(self) -> list[ClassAxis]:
        return [ClassAxis(f"head.classification_head.cls_logits.{part}") for part in ("weight", "bias")]

    def predictors(self) -> tuple[str, ...]:
        boxes = "head.regression_head"
        return ("head.classification_head.cls_logits", f"{boxes}.bbox_reg", f"{boxes}.bbox_ctrness")
