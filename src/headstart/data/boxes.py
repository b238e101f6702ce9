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


def clip_boxes(boxes_xyxy: Tensor, image_hw: tuple[int, int]) -> Tensor:
    """The part of each box inside the image; a box outside becomes empty."""
    height, width = image_hw
    return boxes_xyxy.clamp(min=0).minimum(boxes_xyxy.new_tensor([width, height, width, height]))


def has_area(boxes_xyxy: Tensor) -> Tensor:
    """(N,) bool: whether width and height are positive."""
    return (boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(dim=1)


def centre_inside(boxes_xyxy: Tensor, image_hw: tuple[int, int]) -> Tensor:
    """(N,) bool: whether the box's centre lies in the image."""
    height, width = image_hw
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    return ((centres > 0) & (centres < centres.new_tensor([width, height]))).all(dim=1)
