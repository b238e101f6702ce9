"""An object across borders of tiles is one detection; what is not across one stays as the detector found it."""

import numpy as np
import pytest
import torch
from torchvision.ops import batched_nms

from headstart.config.schema import TileConfig
from headstart.data.halo import Found, merged
from headstart.data.tiles import windows

TILE = TileConfig(size=100, overlap=0.2)
SIZE = (180, 180)
WINDOWS = windows(SIZE, TILE)
"""The whole; and at (0, 0), (80, 0), (0, 80), (80, 80)."""
WHOLE, LEFT, RIGHT, LOWER, LAST = range(5)


def merge(*found: tuple[int, tuple[float, float, float, float], float] | tuple, views=WINDOWS, size=SIZE):
    """(view, box in pixels of the picture, score[, class]) each -> (rounded box, score, class) each."""
    rows = [(*row, 0) if len(row) == 3 else row for row in found]
    view, boxes, scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    left = merged(Found.of(boxes.astype(float), scores.astype(float), labels, view, views, size))
    boxes = [tuple(map(round, box)) for box in left.boxes_xyxy.tolist()]
    return list(zip(boxes, left.scores.tolist(), left.labels.tolist(), strict=True))


def cut_to(view: int, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = np.clip(box, np.tile(WINDOWS[view, :2], 2), np.tile(WINDOWS[view, 2:], 2)).tolist()
    return x1, y1, x2, y2


def test_the_grid_is_what_the_cases_say():
    assert WINDOWS[1:, :2].tolist() == [[0, 0], [80, 0], [0, 80], [80, 80]]


def test_what_one_tile_cuts_and_its_neighbour_has_whole_is_found_once():
    box = (85, 20, 110, 40)
    assert merge((LEFT, cut_to(LEFT, box), 0.9), (RIGHT, box, 0.8)) == [(box, 0.8, 0)]


def test_an_object_in_the_overlap_is_found_once_the_better_time():
    assert merge((LEFT, (82, 20, 96, 40), 0.7), (RIGHT, (83, 20, 97, 40), 0.8)) == [((83, 20, 97, 40), 0.8, 0)]


def test_two_fragments_become_the_box_around_both():
    """Wider than the overlap, and the whole picture's detector has missed it."""
    box = (40, 20, 140, 50)
    assert merge((LEFT, cut_to(LEFT, box), 0.6), (RIGHT, cut_to(RIGHT, box), 0.9)) == [(box, 0.9, 0)]


def test_fragments_meet_where_tiles_do_not_overlap():
    views = windows((200, 100), TileConfig(size=100, overlap=0, whole=False))
    found = (0, (60, 20, 99, 50), 0.6), (1, (101, 21, 150, 50), 0.5)
    assert merge(*found, views=views, size=(200, 100)) == [((60, 20, 150, 50), 0.6, 0)]


def test_four_fragments_around_a_corner_are_one():
    box = (50, 50, 150, 140)
    assert merge(*((view, cut_to(view, box), 0.5 + view / 10) for view in (1, 2, 3, 4))) == [(box, 0.9, 0)]


def test_an_object_over_three_tiles_is_one():
    views = windows((260, 100), TileConfig(size=100, overlap=0.2, whole=False))
    box = (30, 40, 230, 60)
    pieces = [(30, 40, 100, 60), (80, 40, 180, 60), (160, 40, 230, 60)]
    assert merge(*((i, piece, 0.5) for i, piece in enumerate(pieces)), views=views, size=(260, 100)) == [(box, 0.5, 0)]


def test_the_whole_picture_says_what_is_larger_than_a_tile():
    box = (10, 10, 170, 170)
    pieces = [(view, cut_to(view, box), 0.8) for view in (1, 2, 3, 4)]
    assert merge((WHOLE, box, 0.5), *pieces) == [(box, 0.5, 0)]


def test_a_weak_box_takes_no_strong_fragment_away():
    fragment = (70, 20, 100, 40)
    assert merge((WHOLE, (60, 10, 120, 60), 0.1), (LEFT, fragment, 0.9))[0] == (fragment, 0.9, 0)


def test_two_objects_side_by_side_across_a_border_stay_two():
    above, below = (85, 20, 115, 40), (85, 42, 115, 60)
    found = [(view, cut_to(view, box), 0.9) for box in (above, below) for view in (LEFT, RIGHT)]
    assert sorted(merge(*found)) == [(above, 0.9, 0), (below, 0.9, 0)]


def test_fragments_of_different_heights_are_not_joined():
    found = merge((LEFT, (60, 10, 100, 30), 0.9), (RIGHT, (80, 25, 130, 90), 0.8))
    assert [box for box, *_ in found] == [(60, 10, 100, 30), (80, 25, 130, 90)]


def test_classes_do_not_meet():
    box = (85, 20, 98, 40)
    assert len(merge((LEFT, box, 0.9, 0), (RIGHT, box, 0.8, 1))) == 2


def test_a_small_object_within_a_large_one_of_its_class_stays():
    """Whole in the same view as the large one, or in another: it is no fragment."""
    large, small = (10, 10, 75, 75), (30, 30, 45, 45)
    assert len(merge((WHOLE, large, 0.9), (LEFT, small, 0.5))) == 2


def test_what_a_detector_left_standing_in_one_view_stays():
    """Above the IoU that this merge allows, as model.nms_threshold=0.7 may leave them."""
    boxes = (10, 10, 50, 50), (12, 12, 52, 52)
    assert len(merge(*((LEFT, box, 0.9) for box in boxes))) == 2


def test_the_edge_of_the_picture_cuts_nothing():
    edge = (150, 20, 180, 40)
    assert merge((RIGHT, edge, 0.9), (WHOLE, (150, 20, 180, 41), 0.8)) == [(edge, 0.9, 0)]


def test_nothing_found_is_nothing():
    nothing = np.zeros(0)
    none = Found.of(nothing.reshape(0, 4), nothing, nothing.astype(int), nothing.astype(int), WINDOWS, SIZE)
    assert len(merged(none).scores) == 0


def test_among_whole_boxes_of_many_views_it_is_non_maximum_suppression():
    """By class, as torchvision computes it: no box is near a border, each is of another view."""
    random = np.random.default_rng(0)
    low = random.uniform(0, 300, (800, 2))
    boxes = np.concatenate([low, low + random.uniform(20, 60, (800, 2))], axis=1)
    scores, labels = random.permutation(800) / 800, random.integers(0, 3, 800)
    views = np.tile([[0, 0, 400, 400]], (800, 1))
    left = merged(Found.of(boxes, scores, labels, np.arange(800), views, (400, 400)))
    kept = batched_nms(*(torch.from_numpy(column) for column in (boxes, scores, labels)), 0.5)
    np.testing.assert_array_equal(left.boxes_xyxy, boxes[kept])


@pytest.mark.parametrize("seed", range(5))
def test_objects_laid_across_every_border_are_found_once_each(seed):
    """Of random sizes up to twice a tile, apart from each other, seen without error in all views."""
    random, size, apart = np.random.default_rng(seed), 1000, 250
    views = windows((size, size), TileConfig(size=120, overlap=0.25))
    corners = np.array([(x, y) for x in range(0, size, apart) for y in range(0, size, apart)])
    low = corners + random.uniform(0, 20, corners.shape)
    truth = np.concatenate([low, low + random.uniform(15, 215, low.shape)], axis=1)
    found = []
    for view, window in enumerate(views):
        cut = truth.clip(np.tile(window[:2], 2), np.tile(window[2:], 2))
        seen = (cut[:, 2:] - cut[:, :2] > 8).all(1) if view else (truth[:, 2:] - truth[:, :2]).prod(1) > 100**2
        found += [(view, tuple(box), random.uniform(0.5, 0.9)) for box in cut[seen].tolist()]
    left = merge(*found, views=views, size=(size, size))
    assert sorted(box for box, *_ in left) == sorted(tuple(map(round, box)) for box in truth.tolist())
