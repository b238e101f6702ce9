"""Arithmetic on boxes given as (N, 4) corners x1, y1, x2, y2 in pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def box_areas(boxes_xyxy: np.ndarray) -> np.ndarray:
    """(N,) square pixels, to a tenth: what corners lose in the last bits does not take 32 x 32 over its border."""
    return np.round((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1), 1)


def scale_boxes(boxes_xyxy: Tensor, ratio_wh: tuple[float, float]) -> Tensor:
    """The boxes after their image's width and height were multiplied by `ratio_wh`."""
    return boxes_xyxy * boxes_xyxy.new_tensor([*ratio_wh, *ratio_wh])
