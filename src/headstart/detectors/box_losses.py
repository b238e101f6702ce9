"""Losses of boxes by what they share with those that are wanted: (…) of (…, 4) boxes xyxy, as torchvision's."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

EPS = 1e-7


def giou(boxes_xyxy: Tensor, others_xyxy: Tensor, eps: float = EPS) -> Tensor:
    """Of generalised IoU (Rezatofighi et al., CVPR 2019): less what of the box around both is in neither. `eps` may be
    0 where one of two boxes has an area."""
    shared, union = _shared_and_union(boxes_xyxy, others_xyxy)
    width, height = _around(boxes_xyxy, others_xyxy)
    around = width * height
    return 1 - shared / (union + eps) + (around - union) / (around + eps)


def diou(boxes_xyxy: Tensor, others_xyxy: Tensor) -> Tensor:
    """Of distance IoU (Zheng et al., AAAI 2020): less the squared distance of the centres, by that of the corners of
    the box around both."""
    width, height = _around(boxes_xyxy, others_xyxy)
    x, y = ((boxes_xyxy[..., :2] + boxes_xyxy[..., 2:] - others_xyxy[..., :2] - others_xyxy[..., 2:]) / 2).unbind(-1)
    return 1 - iou(boxes_xyxy, others_xyxy) + (x**2 + y**2) / (width**2 + height**2 + EPS)


def ciou(boxes_xyxy: Tensor, others_xyxy: Tensor) -> Tensor:
    """Of complete IoU (Zheng et al., AAAI 2020): of distance IoU, less the difference of the shapes."""
    v = 4 / math.pi**2 * (_slope(others_xyxy) - _slope(boxes_xyxy)) ** 2
    with torch.no_grad():
        weight = v / (1 - iou(boxes_xyxy, others_xyxy) + v + EPS)
    return diou(boxes_xyxy, others_xyxy) + weight * v


def iou(boxes_xyxy: Tensor, others_xyxy: Tensor, eps: float = EPS) -> Tensor:
    """`eps` as in `giou`."""
    shared, union = _shared_and_union(boxes_xyxy, others_xyxy)
    return shared / (union + eps)


BY_OVERLAP: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"giou": giou, "diou": diou, "ciou": ciou}


def _shared_and_union(boxes_xyxy: Tensor, others_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    left, top, right, bottom = boxes_xyxy.unbind(-1)
    of_left, of_top, of_right, of_bottom = others_xyxy.unbind(-1)
    width = torch.minimum(right, of_right) - torch.maximum(left, of_left)
    height = torch.minimum(bottom, of_bottom) - torch.maximum(top, of_top)
    shared = (width * height).where((width > 0) & (height > 0), 0)
    return shared, (right - left) * (bottom - top) + (of_right - of_left) * (of_bottom - of_top) - shared


def _around(boxes_xyxy: Tensor, others_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height of the smallest box around both."""
    least = torch.minimum(boxes_xyxy[..., :2], others_xyxy[..., :2])
    width, height = (torch.maximum(boxes_xyxy[..., 2:], others_xyxy[..., 2:]) - least).unbind(-1)
    return width, height


def _slope(boxes_xyxy: Tensor) -> Tensor:
    width, height = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).unbind(-1)
    return torch.atan(width / height)
