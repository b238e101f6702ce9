"""Boxes cx, cy, width, height in parts of a canvas, and what two have in common, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from headstart.detectors.overlaps import area


def as_xyxy(boxes: Tensor) -> Tensor:
    centres, halves = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centres - halves, centres + halves), -1)


def in_parts(boxes_xyxy: Tensor, canvas_hw: Sequence[int]) -> Tensor:
    """cx, cy, width, height in parts of the canvas, of boxes xyxy in its pixels."""
    left, top, right, bottom = boxes_xyxy.unbind(-1)
    height, width = canvas_hw
    return torch.stack(
        ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height), -1
    )


def in_pixels(boxes: Tensor, canvas_hw: Sequence[int]) -> Tensor:
    """xyxy, of cx, cy, width, height in parts of the canvas."""
    height, width = canvas_hw
    left, top, right, bottom = as_xyxy(boxes).unbind(-1)
    return torch.stack((left * width, top * height, right * width, bottom * height), -1)


def iou(one_xyxy: Tensor, other_xyxy: Tensor) -> Tensor:
    return _iou_and_union(one_xyxy, other_xyxy)[0]


def giou(one_xyxy: Tensor, other_xyxy: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al., CVPR 2019) of (…, 4) and (…, 4); one of the two has an area."""
    overlap, union = _iou_and_union(one_xyxy, other_xyxy)
    least = torch.minimum(one_xyxy[..., :2], other_xyxy[..., :2])
    most = torch.maximum(one_xyxy[..., 2:], other_xyxy[..., 2:])
    around = (most - least).clamp(min=0).prod(-1)
    return overlap - (around - union) / around


def _iou_and_union(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    least, most = torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one[..., 2:], other[..., 2:])
    shared = (most - least).clamp(min=0).prod(-1)
    union = area(one) + area(other) - shared
    return shared / union, union
