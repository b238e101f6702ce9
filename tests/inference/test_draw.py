"""Pictures show the boxes where they are, and nothing else."""

import numpy as np
import PIL.Image
import pytest
import torch

from headstart.data.types import Prediction, Target
from headstart.inference.colours import COLOURS, EASY, colours_of, ink_on
from headstart.inference.draw import MARGIN, TITLE_HEIGHT, draw_prediction, draw_truth, grid, letters, stroke

NAMES = ("cat", "dog")
BLACK = torch.zeros(3, 60, 80, dtype=torch.uint8)


def rgb(colour: str) -> tuple[int, int, int]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))  # type: ignore[return-value]


def target(boxes: list[list[float]], labels: list[int], ignored: str = "") -> Target:
    """`ignored`: what all of them are, a crowd or difficult."""
    kinds = [torch.full((len(boxes),), ignored == kind) for kind in ("crowd", "difficult")]
    corners, area = torch.tensor(boxes).reshape(-1, 4), torch.ones(len(boxes))
    return Target(0, corners, torch.tensor(labels), *kinds, area, (60, 80), (60, 80))


def prediction(boxes: list[list[float]], scores: list[float], labels: list[int]) -> Prediction:
    return Prediction(torch.tensor(boxes).reshape(-1, 4), torch.tensor(scores), torch.tensor(labels))


def test_a_box_is_drawn_on_its_corners_in_the_colour_of_its_class() -> None:
    picture = draw_truth(BLACK, target([[10.0, 30.0, 50.0, 55.0]], [1]), NAMES)
    for corner in ((10, 30), (50, 30), (10, 55), (50, 55)):
        assert picture.getpixel(corner) == rgb(colours_of(NAMES)[1])
    assert picture.getpixel((30, 45)) == (0, 0, 0)
    assert picture.getpixel((60, 45)) == (0, 0, 0)


def test_an_enlarged_picture_has_its_boxes_in_the_same_places() -> None:
    picture = draw_truth(BLACK, target([[10.0, 30.0, 50.0, 55.0]], [1]), NAMES, scale=3)
    assert picture.size == (240, 180)
    for corner in ((30, 90), (150, 90), (30, 165), (150, 165)):
        assert picture.getpixel(corner) == rgb(colours_of(NAMES)[1])


@pytest.mark.parametrize("kind", ["crowd", "difficult"])
def test_ignored_boxes_are_left_out(kind) -> None:
    picture = draw_truth(BLACK, target([[10.0, 30.0, 50.0, 55.0]], [0], kind), NAMES)
    assert np.array_equal(np.asarray(picture), np.zeros((60, 80, 3)))


def test_detections_of_low_score_are_left_out() -> None:
    nothing = np.zeros((60, 80, 3))
    assert np.array_equal(
        np.asarray(draw_prediction(BLACK, prediction([[1.0, 2.0, 30.0, 40.0]], [0.29], [0]), NAMES)), nothing
    )
    assert not np.array_equal(
        np.asarray(draw_prediction(BLACK, prediction([[1.0, 2.0, 30.0, 40.0]], [0.31], [0]), NAMES)), nothing
    )


def test_of_two_detections_in_one_place_the_better_is_on_top() -> None:
    box = [10.0, 30.0, 50.0, 55.0]
    picture = draw_prediction(BLACK, prediction([box, box], [0.9, 0.5], [1, 0]), NAMES)
    assert picture.getpixel((50, 55)) == rgb(colours_of(NAMES)[1])


@pytest.mark.parametrize("box", [[0.0, 0.0, 79.0, 59.0], [78.0, 1.0, 90.0, 70.0]])
def test_boxes_at_the_edge_are_drawn_in_the_size_of_the_image(box: list[float]) -> None:
    picture = draw_prediction(BLACK, prediction([box], [1.0], [0]), ("a class with a very long name",))
    assert picture.size == (80, 60)


def test_an_image_without_boxes_stays_as_it_is() -> None:
    assert np.array_equal(np.asarray(draw_truth(BLACK, target([], []), NAMES)), np.zeros((60, 80, 3)))


def test_a_grid_has_every_picture_in_its_column_and_row() -> None:
    red, green, blue = (PIL.Image.new("RGB", (40, 20), colour) for colour in ("red", "lime", "blue"))
    page = grid([[red, green], [blue, red]], ["left", "right"])
    assert page.size == (40 * 2 + MARGIN, TITLE_HEIGHT + 20 * 2 + MARGIN)
    first, second = TITLE_HEIGHT + 10, TITLE_HEIGHT + 30 + MARGIN
    found = [page.getpixel((x, y)) for y in (first, second) for x in (20, 60 + MARGIN)]
    assert found == [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 0)]


def test_titles_of_two_lines_have_room_above_the_pictures() -> None:
    page = grid([[PIL.Image.new("RGB", (40, 20), "red")]], ["one\ntwo"])
    assert page.size == (40, 2 * TITLE_HEIGHT + 20)


def test_a_class_has_its_colour_by_its_name_whatever_other_order_the_model_has_them_in() -> None:
    names = [f"class {n}" for n in range(15)]
    colours = dict(zip(names, colours_of(names), strict=True))
    assert dict(zip(names[::-1], colours_of(names[::-1]), strict=True)) == colours
    assert len(set(colours.values())) == 15
    # Whether "cat" was alone or beside others, as long as none of them wants its colour: here none does.
    assert colours_of(["cat"])[0] == colours_of(["zebra", "cat"])[1] in COLOURS


def test_up_to_seven_classes_have_the_colours_that_all_can_tell_apart() -> None:
    assert sorted(colours_of([str(n) for n in range(7)])) == sorted(COLOURS[:EASY])
    assert len(colours_of([str(n) for n in range(60)])) == 60


def test_captions_can_be_read_on_every_colour() -> None:
    """W3C's contrast for large letters, 3 : 1, by its own formula."""

    def luminance(colour: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.divide(rgb(colour), 255)]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    for colour in COLOURS:
        ink, ground = luminance({"black": "#000000", "white": "#FFFFFF"}[ink_on(colour)]), luminance(colour)
        assert (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05) > 4.5, colour


def test_lines_and_letters_grow_with_the_picture() -> None:
    assert [stroke((side, side // 2)) for side in (32, 640, 4000)] == [2, 2, 10]
    assert [letters((side, side // 2)) for side in (32, 640, 4000)] == [10, 11, 67]
    large = torch.zeros(3, 3000, 4000, dtype=torch.uint8)
    picture = draw_prediction(large, prediction([[1000.0, 1000.0, 3000.0, 2500.0]], [0.9], [0]), NAMES)
    assert picture.getpixel((1009, 2000)) == rgb(colours_of(NAMES)[0])
    assert picture.getpixel((1011, 2000)) == (0, 0, 0)
