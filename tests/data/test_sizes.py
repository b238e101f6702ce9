"""The image size that boxes ask for."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.config.compose import compose
from headstart.data import catalog
from headstart.data.sizes import LADDER, TrainingBoxes, find_min_size, long_side, resized_wh
from headstart.data.transforms import resized_hw
from headstart.detectors.anchors import find_scale, met, retinanet
from headstart.errors import UserError

REAL = {
    "dataset=kangaroo": (1.0, "240 1", 1.0),
    "dataset=bccd": (0.94, "240 1", 0.94),
    "dataset=fruit": (1.0, "240 1", 1.0),
    "dataset=rsod_110": (0.29, "480 0.7", 0.91),
    "dataset=facemask_510": (0.38, "360 0.7", 0.8),
    "dataset=voc2007_1000": (0.93, "240 1", 0.93),
    "dataset=coco208": (0.53, "480 1", 0.73),
    "dataset=voc_folder dataset.root={}/deepforest": (0.38, "480 1", 0.96),
    "dataset=dota_folder dataset.root={}/dota_example": (0.0, "480 0.7", 0.77),
}
"""Set -> share of the training boxes with an anchor of IoU 0.5 by default (240 x 320 pixels, scale 1); what is found
where nothing limits it; the share with that. Of RetinaNet's anchors. (The tenth, openimages5_broken, is refused.)"""


def boxes_of(sides: list[float], picture: tuple[int, int] = (1600, 1200)) -> TrainingBoxes:
    """Squares in the corner of a picture of their own."""
    corners = np.array([[0, 0, side, side] for side in sides], dtype=float)
    pictures = np.tile(np.array(picture), (len(sides), 1))
    return TrainingBoxes(corners, pictures, pictures)


@given(st.lists(st.tuples(st.integers(20, 3000), st.integers(20, 3000)), min_size=1, max_size=20), st.integers(32, 800))
def test_sizes_are_those_that_pictures_are_resized_to(sizes: list[tuple[int, int]], min_size: int) -> None:
    found = resized_wh(np.array(sizes), min_size, min_size + 100)
    assert found[:, ::-1].tolist() == [[*resized_hw((h, w), min_size, min_size + 100)] for w, h in sizes]


@pytest.mark.parametrize(
    ("sides", "found"),
    [
        ([1000] * 5, 240),
        ([160] * 5, 240),  # exactly 32 pixels
        ([159.9] * 5, 360),
        ([1] + [160] * 4, 240),  # one in five may be small
        ([1, 1] + [160] * 4, 480),
    ],
)
def test_the_size_is_the_least_at_which_four_boxes_in_five_have_32_pixels(sides: list[float], found: int) -> None:
    assert find_min_size(boxes_of(sides), None)[0] == found


@pytest.mark.parametrize(
    ("max_size", "picture", "found", "limit"),
    [
        (None, (1600, 1200), 480, "dataset.max_size=null"),
        (320, (1600, 1200), 240, "dataset.max_size=320"),
        (1300, (1600, 1200), 960, "dataset.max_size=1300"),
        (100, (1600, 1200), 75, "dataset.max_size=100"),
        (None, (400, 300), 360, "the pictures' own short side is 300"),
    ],
)
def test_no_more_than_allowed_nor_than_the_pictures_have(
    max_size: int | None, picture: tuple[int, int], found: int, limit: str
) -> None:
    size, small, why = find_min_size(boxes_of([1], picture), max_size)
    assert (size, small, why) == (found, 1.0, limit)


def test_stretched_pictures_have_one_side() -> None:
    wide = boxes_of([100] * 5, (4000, 1000))
    assert find_min_size(wide, None)[0] == 480  # kept, the long side ends at 640
    assert long_side(240, stretched=True) == 240
    boxes, pictures = wide.seen(400, 400, stretched=True)
    assert pictures.tolist() == [[400, 400]] * 5
    assert boxes.tolist() == [[0, 0, 10, 40]] * 5


scenes = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 300), st.integers(2, 300)), min_size=1, max_size=20)


@given(scenes, st.integers(2, 4))
@settings(max_examples=40, deadline=None)
def test_pictures_and_boxes_that_are_twice_as_large_get_the_same_numbers(scene: list[Any], times: int) -> None:
    corners = np.array([(x, y, x + side, y + side) for x, y, side in scene], dtype=float)
    pictures = np.tile([800, 600], (len(scene), 1))
    one = TrainingBoxes(corners, pictures, pictures)
    more = TrainingBoxes(corners * times, pictures * times, pictures * times)
    assert find_min_size(one, None)[:2] == find_min_size(more, None)[:2]
    seen = [boxes.seen(240, 320) for boxes in (one, more)]
    assert find_scale(*seen[0], retinanet()) == find_scale(*seen[1], retinanet())


@given(scenes)
@settings(max_examples=40, deadline=None)
def test_larger_objects_never_ask_for_larger_pictures(scene: list[Any]) -> None:
    smaller = boxes_of([side for *_, side in scene])
    larger = boxes_of([2 * side for *_, side in scene])
    assert find_min_size(larger, None)[0] <= find_min_size(smaller, None)[0]
    assert find_min_size(larger, None)[0] in LADDER


def test_all_training_boxes_count_but_those_that_are_ignored(tmp_path) -> None:
    _voc(tmp_path, difficult=1)
    config = compose(["dataset=voc_folder", f"dataset.root={tmp_path}", "dataset.shots=1"]).dataset
    boxes = TrainingBoxes.of(catalog.whole(config))
    assert sorted(boxes.boxes_xyxy[:, 2].tolist()) == [30] * len(boxes.pictures_wh)
    _voc(tmp_path, difficult=2)
    with pytest.raises(UserError, match="no box to be learnt"):
        TrainingBoxes.of(catalog.whole(config))


def _voc(root: Any, difficult: int) -> None:
    """Pictures with two boxes, the first ones of which are difficult."""
    import PIL.Image

    for number in range(8):
        PIL.Image.new("RGB", (48, 40), (number, 0, 0)).save(root / f"{number}.png")
        objects = "".join(
            f"<object><name>a</name><difficult>{int(i < difficult)}</difficult><bndbox><xmin>1</xmin><ymin>1</ymin>"
            f"<xmax>{20 + 10 * i}</xmax><ymax>31</ymax></bndbox></object>"
            for i in range(2)
        )
        size = "<size><width>48</width><height>40</height><depth>3</depth></size>"
        text = f"<annotation><filename>{number}.png</filename>{size}{objects}</annotation>"
        (root / f"{number}.xml").write_text(text)


@pytest.mark.parametrize("words", REAL)
def test_of_real_boxes_more_are_met_than_before(words: str, real_data, monkeypatch) -> None:
    monkeypatch.setenv("HEADSTART_DATA", str(real_data))
    boxes = TrainingBoxes.of(catalog.whole(compose(words.format(real_data).split()).dataset))
    size = find_min_size(boxes, None)[0]
    seen = boxes.seen(size, long_side(size))
    scale = find_scale(*seen, retinanet())
    before = met(*boxes.seen(240, 320), retinanet(), 1.0)
    after = met(*seen, retinanet(), scale)
    assert (round(before, 2), f"{size} {scale:g}", round(after, 2)) == REAL[words]
