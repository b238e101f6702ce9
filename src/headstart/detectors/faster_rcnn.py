"""Faster R-CNN (Ren et al., NeurIPS 2015) with a feature pyramid, and torchvision's v2 of it (Li et al., 2021)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNConvFCHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from headstart.config.schema import BackboneConfig, FasterRCNNConfig, Variant
from headstart.data.batch import pad, presence
from headstart.detectors.anchors import RATIOS, faster_rcnn, is_mobilenet_v3_large, scale_of
from headstart.detectors.backbones import Body, build_body
from headstart.detectors.ignored import in_ignored, spared
from headstart.detectors.interface import ClassAxis, ClassLogits, Features, Places
from headstart.detectors.mobilenet import last_two_maps
from headstart.detectors.pretrained import default_preprocessing
from headstart.detectors.torchvision_base import FpnBackbone, TorchvisionDetector, at_least_float32, keep_gain


class Proposer(RegionProposalNetwork):
    """torchvision's; background in an ignored box is not sampled."""

    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        labels, matched_boxes = super().assign_targets_to_anchors(anchors, targets)
        ignored = spared([label == 0 for label in labels], anchors, targets)
        return [label.masked_fill(here, -1) for label, here in zip(labels, ignored, strict=True)], matched_boxes


class FasterRCNNDetector(TorchvisionDetector, FasterRCNN):
    """torchvision's Faster R-CNN; row 0 of its head is the background."""

    roi_heads: RoIHeads
    background = 1
    head_prefixes = ("rpn", "roi_heads")

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
            FpnBackbone(body.module, body.channels, width, LastLevelMaxPool(), norm),
            num_classes=len(class_names) + self.background,
            rpn_anchor_generator=anchors,
            rpn_head=rpn_head,
            rpn_score_thresh=proposal_threshold,
            box_head=FastRCNNConvFCHead((width, 7, 7), [width] * 4, [1024], norm_layer=norm) if v2 else None,
            box_score_thresh=config.score_threshold,
            box_nms_thresh=config.nms_threshold,
            box_detections_per_img=config.detections_per_image,
        )
        self.rpn.__class__ = Proposer  # torchvision's constructor takes its parts, not its class
        self._set_up(config, body, class_names, default_preprocessing(backbone))
        for head in ("rpn.head", "roi_heads.box_predictor"):
            self.get_submodule(head).register_forward_hook(_in_float32)

    def _losses(
        self, batch: ImageList, features: OrderedDict[str, Tensor], targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        with self._mode(training=True):
            proposals, rpn_losses = self.rpn(batch, features, targets)
            proposals = [self._to_sample(*of_image) for of_image in zip(proposals, targets, strict=True)]
            if not any(len(target["boxes"]) + len(boxes) for target, boxes in zip(targets, proposals, strict=True)):
                return {**rpn_losses, **self._nothing_sampled()}
            _, box_losses = self.roi_heads(features, proposals, batch.image_sizes, targets)
        return {**rpn_losses, **box_losses}

    def _to_sample(self, proposals: Tensor, target: dict[str, Tensor]) -> Tensor:
        """Without those that would be background in an ignored box."""
        ignored = in_ignored(proposals, target["ignored"])
        if not ignored.any():
            return proposals
        boxes = target["boxes"].to(proposals)
        _, (labels,) = self.roi_heads.assign_targets_to_proposals([proposals], [boxes], [target["labels"]])
        return proposals[~ignored | (labels != 0)]

    def _nothing_sampled(self) -> dict[str, Tensor]:
        """Zeros, where torchvision's means over no proposal would be NaN; DDP waits for every parameter's gradient."""
        zero = 0 * torch.stack([parameter.sum() for parameter in self.roi_heads.parameters()]).sum()
        return {"loss_classifier": zero, "loss_box_reg": zero}

    def _detections(self, batch: ImageList, features: OrderedDict[str, Tensor]) -> list[dict[str, Tensor]]:
        with self._mode(training=False):
            proposals, _ = self.rpn(batch, features)
            return self.roi_heads(features, proposals, batch.image_sizes)[0]

    def _features(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """In float32: anchors and pooled regions take the features' type."""
        return OrderedDict((name, at_least_float32(level)) for name, level in super()._features(images).items())

    def class_logits(self, features: Features, places: Places | None = None) -> ClassLogits:
        maps, sizes = OrderedDict(features.maps), [(int(h), int(w)) for h, w in features.sizes_hw]
        if places is None:
            with self._mode(training=False):
                proposals, _ = self.rpn(ImageList(features.batch, sizes), maps)
            most = max(1, *(len(boxes) for boxes in proposals))
            present = presence([len(boxes) for boxes in proposals], most, features.batch.device)
            places = Places(present, pad(proposals, most))
        boxes = list(places.where.to(next(iter(maps.values()))))
        regions = self.roi_heads.box_head(self.roi_heads.box_roi_pool(maps, boxes, sizes))
        logits, _ = self.roi_heads.box_predictor(regions)
        return ClassLogits(logits.unflatten(0, places.present.shape), places)

    @contextmanager
    def _mode(self, training: bool) -> Iterator[None]:
        """What torchvision's two parts are asked for; their layers keep their own mode."""
        parts: tuple[nn.Module, ...] = (self.rpn, self.roi_heads)
        before = [part.training for part in parts]
        try:
            for part in parts:
                part.training = training
            yield
        finally:
            for part, mode in zip(parts, before, strict=True):
                part.training = mode

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
    return build_body(backbone, (4, 8, 16, 32)), 0.0


def _in_float32(module: nn.Module, inputs: Any, outputs: Any) -> Any:
    """Of a tuple of tensors, or of lists of tensors."""
    return tuple(
        [at_least_float32(level) for level in output] if isinstance(output, list) else at_least_float32(output)
        for output in outputs
    )
