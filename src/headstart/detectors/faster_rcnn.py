"""Faster R-CNN (Ren et al., NeurIPS 2015) with a feature pyramid, and torchvision's v2 of it (Li et al., 2021)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNConvFCHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from headstart.config.schema import BackboneConfig, FasterRCNNConfig, Variant
from headstart.data.batch import Batch, Detections
from headstart.detectors.anchors import RATIOS, faster_rcnn, is_mobilenet_v3_large, scale_of
from headstart.detectors.backbones import Body
from headstart.detectors.interface import ClassAxis, ClassLogits, Features, Places
from headstart.detectors.mobilenet import last_two_maps
from headstart.detectors.necks import FpnBackbone
from headstart.detectors.pretrained import default_preprocessing
from headstart.detectors.proposals import Outputs, Proposer
from headstart.detectors.regions import Regions
from headstart.detectors.torchvision_base import TorchvisionDetector, at_least_float32
from headstart.detectors.vit import pyramid_body
from headstart.detectors.widths import keep_gain


class FasterRCNNDetector(TorchvisionDetector, FasterRCNN):
    """torchvision's Faster R-CNN; row 0 of its head is the background."""

    rpn: Proposer
    roi_heads: Regions
    background = 1
    head_prefixes = ("rpn", "roi_heads")
    anchors_by = "rpn.anchor_generator"

    def __init__(self, config: FasterRCNNConfig, backbone: BackboneConfig, class_names: Sequence[str]) -> None:
        body, proposal_threshold = _body_and_threshold(backbone)
        levels, scale = faster_rcnn(backbone), scale_of(config)
        width, v2 = backbone.neck_channels, config.variant is Variant.v2
        norm = nn.BatchNorm2d if v2 else None
        anchors = AnchorGenerator(
            tuple(tuple(size * scale for size in level.sizes) for level in levels), (RATIOS,) * len(levels)
        )
        rpn_head = RPNHead(width, anchors.num_anchors_per_location()[0], conv_depth=2 if v2 else 1)
        keep_gain(rpn_head.conv)
        FasterRCNN.__init__(
            self,
            FpnBackbone(config, body, width, LastLevelMaxPool(), norm),
            num_classes=len(class_names) + self.background,
            rpn_anchor_generator=anchors,
            rpn_head=rpn_head,
            rpn_score_thresh=proposal_threshold,
            box_head=FastRCNNConvFCHead((width, 7, 7), [width] * 4, [1024], norm_layer=norm) if v2 else None,
            box_score_thresh=config.score_threshold,
            box_nms_thresh=config.nms_threshold,
            box_detections_per_img=config.detections_per_image,
        )
        # torchvision's constructor takes their parts, not their classes.
        self.rpn.__class__, self.roi_heads.__class__ = Proposer, Regions
        self._set_up(config, body, class_names, default_preprocessing(backbone))
        for head in ("rpn.head", "roi_heads.box_predictor"):
            self.get_submodule(head).register_forward_hook(_in_float32)

    def losses(self, batch: Batch, features: Features | None = None) -> dict[str, Tensor]:
        features, objects = features or self.features(batch), self._objects(batch)
        outputs = self._first_stage(features)
        proposals = self.rpn.proposals(outputs, features.sizes_hw, "training")
        return self.rpn.losses(outputs, objects) | self.roi_heads.losses(features, proposals, objects)

    def detect(self, batch: Batch, features: Features | None = None) -> Detections:
        features = features or self.features(batch)
        return self.roi_heads.detections(features, self._proposals(features), self.rule)

    def class_logits(self, features: Features, places: Places | None = None) -> ClassLogits:
        places = self._proposals(features) if places is None else places
        logits, _ = self.roi_heads.outputs(features, places)
        return ClassLogits(logits, places)

    def _proposals(self, features: Features) -> Places:
        return self.rpn.proposals(self._first_stage(features), features.sizes_hw, "testing")

    def _first_stage(self, features: Features) -> Outputs:
        levels = list(features.maps.values())
        return self.rpn.outputs(levels, self._anchors(features.batch, levels, levels[0]))

    def _features(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """In float32: anchors and pooled regions take the features' type."""
        return OrderedDict((name, at_least_float32(level)) for name, level in super()._features(images).items())

    def class_axes(self) -> list[ClassAxis]:
        predictor = "roi_heads.box_predictor"
        return [
            ClassAxis(f"{predictor}.{layer}.{part}", background=1, block=block)
            for layer, block in (("cls_score", 1), ("bbox_pred", 4))
            for part in ("weight", "bias")
        ]

    def predictors(self) -> tuple[str, ...]:
        return ("roi_heads.box_predictor",)


def _body_and_threshold(backbone: BackboneConfig) -> tuple[Body, float]:
    """C2 to C5, and all proposals; on torchvision's MobileNetV3, as there, two maps, and proposals from a score of
    0.05."""
    if is_mobilenet_v3_large(backbone):
        return last_two_maps(), 0.05
    return pyramid_body(backbone, (4, 8, 16, 32)), 0.0


def _in_float32(module: nn.Module, inputs: Any, outputs: Any) -> Any:
    """Of a tuple of tensors, or of lists of tensors."""
    return tuple(
        [at_least_float32(level) for level in output] if isinstance(output, list) else at_least_float32(output)
        for output in outputs
    )
