"""Boxes relative to others, as R-CNN has them (Girshick et al., CVPR 2014): shifts in sizes, and logarithms of sizes.

torchvision's `BoxCoder` for tensors of any leading axes; it copies numbers to the device on every call, which waits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MOST_GROWTH = math.log(1000 / 16)
"""Of a logarithm of sizes, before it is turned into pixels."""


def encode(boxes_xyxy: Tensor, references_xyxy: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """(…, 4) boxes as seen from (…, 4) references; `weights` multiply x, y, width and height."""
    centers, sides = _centers_and_sides(boxes_xyxy)
    of_centers, of_sides = _centers_and_sides(references_xyxy)
    shifts, growths = (centers - of_centers) / of_sides, (sides / of_sides).log()
    parts = (*shifts.unbind(-1), *growths.unbind(-1))
    return torch.stack([weight * part for weight, part in zip(weights, parts, strict=True)], dim=-1)


def decode(codes: Tensor, references_xyxy: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """What `encode` was given; growths are at most `MOST_GROWTH`."""
    of_centers, of_sides = _centers_and_sides(references_xyxy)
    parts = [code / weight for weight, code in zip(weights, codes.unbind(-1), strict=True)]
    shifts, growths = torch.stack(parts[:2], dim=-1), torch.stack(parts[2:], dim=-1).clamp(max=MOST_GROWTH)
    centers, halves = shifts * of_sides + of_centers, growths.exp() * of_sides / 2
    return torch.cat([centers - halves, centers + halves], dim=-1)


def clip(boxes_xyxy: Tensor, sizes_hw: Tensor) -> Tensor:
    """(N, …, 4) boxes, to their (N, 2) images' heights and widths."""
    ends = sizes_hw.flip(1).repeat(1, 2).to(boxes_xyxy)
    return boxes_xyxy.clamp(min=0).minimum(ends.reshape(len(ends), *[1] * (boxes_xyxy.dim() - 2), 4))


def at_least(boxes_xyxy: Tensor, side: float) -> Tensor:
    """(…) bool: whose width and height are `side` or more."""
    return (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2] >= side).all(-1)


def _centers_and_sides(boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    low, high = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    sides = high - low
    return low + sides / 2, sides
