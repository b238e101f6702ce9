"""The card's picture: a usual one, with what was annotated and what is found, each where it is."""

import numpy as np
import PIL.Image

from headstart.data.truth import KnownTruth
from headstart.data.types import AnnotatedImage
from headstart.inference.colours import colours_of
from headstart.inference.draw import MARGIN, TITLE_HEIGHT
from headstart.inference.example import SIDE, example
from headstart.records.detections import SplitDetections
from headstart.records.truth import Truth

GREYS = (10, 20, 30)


def image(grey: int) -> AnnotatedImage:
    none = np.zeros(0, bool)
    picture = PIL.Image.new("RGB", (240, 120), (grey, grey, grey))
    nothing = np.zeros((0, 4)), np.zeros(0, np.int64), none, none, np.zeros(0)
    return AnnotatedImage(str(grey), lambda: picture, (240, 120), *nothing)


def known(counts: tuple[int, ...]) -> KnownTruth:
    """So many objects in each picture; the rows are in another order than the split."""
    images = np.repeat(np.arange(len(counts)), counts)
    boxes = np.tile([20.0, 20.0, 60.0, 60.0], (len(images), 1))
    no = np.zeros(len(images), bool)
    sizes = np.full((len(counts), 2), (120, 240))
    names = tuple(map(str, range(len(counts))))
    truth = Truth("0", ("cat", "dog"), names, sizes, images, boxes, np.zeros(len(images), int), no, no, boxes[:, 0])
    return KnownTruth(truth, np.array([2, 1, 0]))


def found(rows: list[tuple[int, list[float], float]]) -> SplitDetections:
    images, boxes, scores = (np.array(column) for column in zip(*rows, strict=True))
    return SplitDetections(images, boxes.astype(np.float32), scores, np.ones(len(rows), int), np.arange(3))


def test_the_picture_of_usual_fullness_is_drawn_as_annotated_and_as_found() -> None:
    detections = found([(0, [0, 0, 9, 9], 0.9), (1, [80.0, 50.0, 120.0, 90.0], 0.6), (1, [180, 90, 200, 110], 0.4)])
    page = example(known((9, 2, 1)), detections, [image(grey) for grey in GREYS], {"dog": 0.5})
    assert page is not None
    cat, dog = (tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in colours_of(("cat", "dog")))
    right, scale = SIDE + MARGIN, SIDE / 240

    def at(left: float, x: float, y: float) -> tuple[int, ...]:
        return page.getpixel((int(left + scale * x), int(TITLE_HEIGHT + scale * y)))

    assert at(0, 200, 30) == (20, 20, 20), "row 1 has two objects, the middle of 1, 2 and 9, and is the second picture"
    assert at(0, 20, 40) == cat
    assert at(right, 80, 70) == dog
    assert at(right, 180, 100) == (20, 20, 20), "below its threshold"


def test_without_an_object_in_it_there_is_no_picture() -> None:
    assert example(known((0, 0, 0)), found([(0, [0, 0, 9, 9], 0.9)]), [image(grey) for grey in GREYS], {}) is None
