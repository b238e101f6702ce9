"""Boxes cx, cy, width, height in parts of a canvas, and xyxy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


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
