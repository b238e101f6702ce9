"""Boxes against values computed by hand."""

import numpy as np
import torch

from headstart.data.boxes import box_areas, scale_boxes

BOXES = torch.tensor([[-10.0, 5.0, 20.0, 50.0], [90.0, 30.0, 130.0, 40.0], [120.0, 10.0, 140.0, 20.0]])


def test_scaling_multiplies_x_by_the_width_ratio_and_y_by_the_height_ratio() -> None:
    assert scale_boxes(BOXES[1:2], (2.0, 0.5)).tolist() == [[180.0, 15.0, 260.0, 20.0]]


def test_no_boxes_stay_no_boxes() -> None:
    assert scale_boxes(torch.zeros(0, 4), (2.0, 2.0)).shape == (0, 4)


def test_an_area_on_a_border_stays_there_where_corners_round() -> None:
    """32 x 32 pixels anywhere: small and medium, as in pycocotools, which has width and height as written."""
    corners = np.arange(0, 90, 0.37)[:, None] * [1, 0.7]
    assert set(box_areas(np.hstack([corners, corners + 32]))) == {1024.0}
