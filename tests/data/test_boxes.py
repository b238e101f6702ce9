"""Boxes against values computed by hand."""

import numpy as np
import torch

from headstart.data.boxes import box_areas, centre_inside, clip_boxes, has_area, scale_boxes

BOXES = torch.tensor([[-10.0, 5.0, 20.0, 50.0], [90.0, 30.0, 130.0, 40.0], [120.0, 10.0, 140.0, 20.0]])
IMAGE_HW = (40, 100)


def test_scaling_multiplies_x_by_the_width_ratio_and_y_by_the_height_ratio() -> None:
    assert scale_boxes(BOXES[1:2], (2.0, 0.5)).tolist() == [[180.0, 15.0, 260.0, 20.0]]


def test_clipping_keeps_what_is_inside_and_empties_what_is_not() -> None:
    clipped = clip_boxes(BOXES, IMAGE_HW)
    assert clipped.tolist() == [[0.0, 5.0, 20.0, 40.0], [90.0, 30.0, 100.0, 40.0], [100.0, 10.0, 100.0, 20.0]]
    assert has_area(clipped).tolist() == [True, True, False]


def test_centres_decide_who_is_inside() -> None:
    assert centre_inside(BOXES, IMAGE_HW).tolist() == [True, False, False]  # centres (5, 27.5), (110, 35), (130, 15)


def test_a_box_of_less_than_a_pixel_has_area_and_a_line_has_none() -> None:
    assert has_area(torch.tensor([[1.0, 1.0, 1.25, 1.5], [1.0, 1.0, 1.0, 9.0]])).tolist() == [True, False]


def test_no_boxes_stay_no_boxes() -> None:
    none = torch.zeros(0, 4)
    assert scale_boxes(none, (2.0, 2.0)).shape == clip_boxes(none, IMAGE_HW).shape == (0, 4)
    assert has_area(none).shape == centre_inside(none, IMAGE_HW).shape == (0,)


def test_an_area_on_a_border_stays_there_where_corners_round() -> None:
    """32 x 32 pixels anywhere: small and medium, as in pycocotools, which has width and height as written."""
    corners = np.arange(0, 90, 0.37)[:, None] * [1, 0.7]
    assert set(box_areas(np.hstack([corners, corners + 32]))) == {1024.0}
