"""FCOS (Tian et al., ICCV 2019): no anchors, a box from every cell inside an object."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.models.detection.fcos import FCOS, FCOSHead
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from headstart.config.schema import BackboneConfig, FCOSConfig, OverlapLoss
from headstart.detectors.box_losses import BY_OVERLAP
from headstart.detectors.dense_losses import focal
from headstart.detectors.ignored import left_out
from headstart.detectors.interface import ClassAxis
from headstart.detectors.matching import GroundTruth, Wanted
from headstart.detectors.necks import FpnBackbone
from headstart.detectors.overlaps import area, in_blocks
from headstart.detectors.pretrained import default_preprocessing
from headstart.detectors.torchvision_base import OneStageDetector
from headstart.detectors.vit import pyramid_body
from headstart.detectors.widths import refuse_width

LARGE = 1e8
"""Pixels: no box has this area."""


class FCOSDetector(OneStageDetector, FCOS):
    """torchvision's FCOS; its head has a row per class and none for the background."""

    def __init__(self, config: FCOSConfig, backbone: BackboneConfig, class_names: Sequence[str]) -> None:
        width = backbone.neck_channels
        refuse_width(width, "model=fcos")
        body = pyramid_body(backbone, (8, 16, 32))
        network = FpnBackbone(config, body, width, LastLevelP6P7(width, width))
        FCOS.__init__(
            self,
            network,
            num_classes=len(class_names),
            head=FCOSHead(width, 1, len(class_names)),
            score_thresh=config.score_threshold,
            nms_thresh=config.nms_threshold,
            detections_per_img=config.detections_per_image,
        )
        self._box_loss = BY_OVERLAP[(config.box_loss or OverlapLoss.giou).value]
        self._set_up(config, body, class_names, default_preprocessing(backbone))

    def losses_of(self, outputs: dict[str, Tensor], anchors_xyxy: Tensor, objects: GroundTruth) -> dict[str, Tensor]:
        """Over the cells of all objects of the batch. A cell's anchor is a square as wide as the stride."""
        cells = partial(assigned, radius=self.center_sampling_radius)
        matches = in_blocks(cells, anchors_xyxy, objects.boxes_xyxy, objects.present)
        wanted = Wanted.of(matches, anchors_xyxy, objects)
        spared = left_out(~wanted.found, anchors_xyxy, objects.boxes_xyxy, objects.ignored)
        classes = focal(outputs["cls_logits"], wanted.labels, wanted.found).masked_fill(spared, 0)
        codes = outputs["bbox_regression"].where(wanted.found[..., None], 0)
        boxes = self._box_loss(self.box_coder.decode(codes, anchors_xyxy), wanted.boxes_xyxy)
        centred = centredness(self.box_coder.encode(anchors_xyxy, wanted.boxes_xyxy))
        centres = binary_cross_entropy_with_logits(outputs["bbox_ctrness"][..., 0], centred, reduction="none")
        count = wanted.found.sum().clamp(min=1)
        return {
            "classification": classes.sum() / count,
            "bbox_regression": boxes.where(wanted.found, 0).sum() / count,
            "bbox_ctrness": centres.where(wanted.found, 0).sum() / count,
        }

    def _scores(self, outputs: dict[str, Tensor]) -> Tensor:
        return torch.sqrt(super()._scores(outputs) * outputs["bbox_ctrness"].sigmoid())

    def _decoded(self, codes: Tensor, anchors_xyxy: Tensor) -> Tensor:
        return self.box_coder.decode(codes, anchors_xyxy)

    def class_axes(self) -> list[ClassAxis]:
        return [ClassAxis(f"head.classification_head.cls_logits.{part}") for part in ("weight", "bias")]

    def predictors(self) -> tuple[str, ...]:
        boxes = "head.regression_head"
        return ("head.classification_head.cls_logits", f"{boxes}.bbox_reg", f"{boxes}.bbox_ctrness")


@torch.no_grad()
def assigned(anchors_xyxy: Tensor, boxes_xyxy: Tensor, present: Tensor, *, radius: float) -> Tensor:
    """(N, A) int64: the row of the smallest of the present boxes (N, T, 4) that a cell is for, -1 of none.

    A cell is for a box that it lies in, if its middle is within `radius` strides of the box's, and if the farthest of
    the box's sides is as far away as its level is for. The arithmetic is torchvision's: in float32 areas within 8
    pixels are equal, and the first box counts.
    """
    sizes = anchors_xyxy[:, 2] - anchors_xyxy[:, 0]
    x, y = ((anchors_xyxy[:, :2] + anchors_xyxy[:, 2:]) / 2).unbind(-1)
    left, top, right, bottom = boxes_xyxy[..., None, :].unbind(-1)
    off = torch.maximum((x - (left + right) / 2).abs(), (y - (top + bottom) / 2).abs())
    across, down = (x - left, right - x), (y - top, bottom - y)
    nearest = torch.minimum(torch.minimum(*across), torch.minimum(*down))
    farthest = torch.maximum(torch.maximum(*across), torch.maximum(*down))
    least = (4 * sizes).where(sizes > sizes[0], 0)
    most = (8 * sizes).where(sizes < sizes[-1], torch.inf)
    fits = present[..., None] & (off < radius * sizes) & (nearest > 0) & (farthest > least) & (farthest < most)
    best = (LARGE - area(boxes_xyxy)[..., None]).where(fits, 0).max(dim=1)
    return best.indices.where(best.values >= 1e-5, -1)


def centredness(distances: Tensor) -> Tensor:
    """(N, A) of (N, A, 4) distances to left, top, right and bottom: 1 in the middle, 0 at an edge."""
    left, top, right, bottom = distances.unbind(-1)
    across = torch.minimum(left, right) / torch.maximum(left, right)
    return torch.sqrt(across * torch.minimum(top, bottom) / torch.maximum(top, bottom))
