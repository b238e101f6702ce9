"""Tables of what (A, 4) or (N, A, 4) candidates and (N, T, 4) boxes have in common: (N, T, A).

They are made for so many images at a time that a table has no more than `MOST_ELEMENTS`, or for one image.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MOST_ELEMENTS = 2**26
"""Of a table: 256 MiB in float32 …"""
MOST_ON_CPU = 2**20
"""… and what a processor's cache holds: half the time for tables that are larger."""


def shared_area(candidates_xyxy: Tensor, boxes_xyxy: Tensor) -> Tensor:
    """(…, T, A)"""
    # Numbers that lie side by side: a table is read and written many times as fast.
    left, top, right, bottom = candidates_xyxy.movedim(-1, 0).contiguous()[..., None, :]
    of_left, of_top, of_right, of_bottom = boxes_xyxy[..., :, None, :].unbind(-1)
    width = torch.minimum(right, of_right).sub_(torch.maximum(left, of_left)).clamp_(min=0)
    height = torch.minimum(bottom, of_bottom).sub_(torch.maximum(top, of_top)).clamp_(min=0)
    return width.mul_(height)


def present_iou(candidates_xyxy: Tensor, boxes_xyxy: Tensor, present: Tensor) -> Tensor:
    """(N, T, A), and -1 of absent boxes, so that any other is better."""
    return iou_of_shared(shared_area(candidates_xyxy, boxes_xyxy), candidates_xyxy, boxes_xyxy, present)


def iou_of_shared(shared: Tensor, candidates_xyxy: Tensor, boxes_xyxy: Tensor, present: Tensor) -> Tensor:
    """`present_iou`, in place of the areas."""
    union = (area(boxes_xyxy)[..., None] + area(candidates_xyxy)[..., None, :]).sub_(shared)
    return shared.div_(union).masked_fill_(~present[..., None], -1)


def area(boxes_xyxy: Tensor) -> Tensor:
    left, top, right, bottom = boxes_xyxy.unbind(-1)
    return (right - left) * (bottom - top)


def in_blocks(rule: Callable[..., Tensor], candidates_xyxy: Tensor, boxes_xyxy: Tensor, *padded: Tensor) -> Tensor:
    """`rule(candidates, boxes, *padded)` of all images, or of a few at a time and put together."""
    images, table = len(boxes_xyxy), boxes_xyxy.shape[1] * candidates_xyxy.shape[-2]
    most = MOST_ON_CPU if boxes_xyxy.device.type == "cpu" else MOST_ELEMENTS
    several = max(1, most // max(1, table))
    if several >= images:
        return rule(candidates_xyxy, boxes_xyxy, *padded)
    parts = [tensor.split(several) for tensor in (boxes_xyxy, *padded)]
    shared = candidates_xyxy.ndim == 2
    of_blocks = [candidates_xyxy] * len(parts[0]) if shared else candidates_xyxy.split(several)
    return torch.cat([rule(*block) for block in zip(of_blocks, *parts, strict=True)])
