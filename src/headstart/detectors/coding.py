"""Boxes as what a head says of an anchor, and back, for any number of images at once: the arithmetic of torchvision's
`BoxCoder`, without its constants that are copied to the device each time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

Weights = tuple[float, float, float, float]
LARGEST = math.log(1000 / 16)
"""Of a code for width or height, before its exponential is taken."""


def encode(boxes_xyxy: Tensor, anchors_xyxy: Tensor, weights: Weights) -> Tensor:
    """(…, 4) codes x, y, width, height. Of boxes without area they are not finite."""
    x, y, width, height = centred(boxes_xyxy)
    of_x, of_y, of_width, of_height = centred(anchors_xyxy)
    wx, wy, ww, wh = weights
    return torch.stack(
        (
            wx * (x - of_x) / of_width,
            wy * (y - of_y) / of_height,
            ww * torch.log(width / of_width),
            wh * torch.log(height / of_height),
        ),
        -1,
    )


def decode(codes: Tensor, anchors_xyxy: Tensor, weights: Weights) -> Tensor:
    """(…, 4) boxes xyxy of (…, 4) codes."""
    x, y, width, height = centred(anchors_xyxy)
    dx, dy, dw, dh = (code / weight for code, weight in zip(codes.unbind(-1), weights, strict=True))
    x, y = dx * width + x, dy * height + y
    half_width = 0.5 * (dw.clamp(max=LARGEST).exp() * width)
    half_height = 0.5 * (dh.clamp(max=LARGEST).exp() * height)
    return torch.stack((x - half_width, y - half_height, x + half_width, y + half_height), -1)


def centred(boxes_xyxy: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Centre x and y, width and height."""
    left, top, right, bottom = boxes_xyxy.unbind(-1)
    width, height = right - left, bottom - top
    return left + 0.5 * width, top + 0.5 * height, width, height


def clipped(boxes_xyxy: Tensor, sizes_hw: Tensor) -> Tensor:
    """(N, M, 4) boxes, each within its image of (N, 2) `sizes_hw`."""
    heights, widths = sizes_hw[:, None].to(boxes_xyxy).unbind(-1)
    most = torch.stack((widths, heights, widths, heights), -1)
    return torch.minimum(boxes_xyxy.clamp(min=0), most)
