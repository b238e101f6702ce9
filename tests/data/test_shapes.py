"""The drawn data sets: exact boxes, the same everywhere, two domains that differ."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from headstart.config.schema import ShapesConfig
from headstart.data import shapes
from headstart.data.drawing import HEIGHT, STYLES, WIDTH, make_scene, paint
from headstart.data.types import AnnotatedImage, DetectionData
from headstart.errors import UserError

DOMAINS = ["source", "target"]
LOOK_OF_VERSION_1: dict[str, dict[str, Any]] = {
    "source": {
        "boxes": [[115, 10, 178, 73], [180, 26, 284, 130]],
        "colour": [196.1, 136.9, 210.2],
        "painted": {"circle": 44899, "square": 17320, "triangle": 20781, "star": 21363, "cross": 53081, "heart": 36940},
    },
    "target": {
        "boxes": [[79, 182, 133, 237], [87, 18, 164, 93], [122, 158, 159, 194], [12, 27, 58, 72]],
        "colour": [38.2, 30.0, 37.4],
        "painted": {"circle": 15694, "triangle": 10907, "star": 9368, "pentagon": 20158, "crescent": 19540},
    },
}
"""Boxes and mean colour of the first training picture; pixels painted of each class in 20 scenes."""


def drawn(domain: str, num_train: int = 60, num_val: int = 5, draw_seed: int = 0) -> DetectionData:
    config = ShapesConfig(name="s", domain=domain, num_train=num_train, num_val=num_val, draw_seed=draw_seed)
    return shapes.draw(config)


def pixels(image: AnnotatedImage) -> np.ndarray:
    return np.asarray(image.read())


@pytest.mark.parametrize("domain", DOMAINS)
def test_boxes_are_the_exact_bounds_of_what_each_object_changes_in_the_picture(domain: str) -> None:
    """Each object is left out in turn: the pixels that differ are the object."""
    checked = 0
    for seed in range(25):
        scene = make_scene(STYLES[domain], seed)
        whole = np.asarray(paint(scene))
        for shape in scene.shapes:
            others = tuple(other for other in scene.shapes if other is not shape)
            differs = (np.asarray(paint(replace(scene, shapes=others))) != whole).any(axis=2)
            (ys, xs), (x1, y1, x2, y2) = differs.nonzero(), shape.box_xyxy
            assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (x1, y1, x2, y2)
            checked += 1
    assert checked > 50


@pytest.mark.parametrize("domain", DOMAINS)
def test_pictures_keep_the_contract_of_annotated_images(domain: str) -> None:
    for image in drawn(domain).splits["train"][:10]:
        assert image.read().size == image.size_wh == (WIDTH, HEIGHT)
        assert image.read().mode == "RGB"
        assert len(image.boxes_xyxy) == len(image.labels) == len(image.ignore) == len(image.area)
        assert (image.boxes_xyxy >= 0).all()
        assert (image.boxes_xyxy <= [WIDTH, HEIGHT, WIDTH, HEIGHT]).all()
        assert (image.boxes_xyxy[:, 2:] > image.boxes_xyxy[:, :2]).all()


@pytest.mark.parametrize("domain", DOMAINS)
def test_labels_name_the_shapes_of_the_scene(domain: str) -> None:
    data = drawn(domain)
    for image in data.splits["train"][:20]:
        _, seed = image.read.args  # type: ignore[attr-defined]
        scene = make_scene(STYLES[domain], seed)
        assert [data.class_names[label] for label in image.labels] == [shape.class_name for shape in scene.shapes]
        assert image.boxes_xyxy.tolist() == [list(shape.box_xyxy) for shape in scene.shapes]


@pytest.mark.parametrize("domain", DOMAINS)
def test_objects_barely_overlap(domain: str) -> None:
    for image in drawn(domain).splits["train"]:
        for a, b in combinations(image.boxes_xyxy, 2):
            sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
            smaller = min(np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2]))
            assert np.prod(sides.clip(min=0)) <= 0.1 * smaller


@pytest.mark.parametrize("domain", DOMAINS)
def test_pictures_hold_none_to_six_objects_of_every_class(domain: str) -> None:
    data = drawn(domain, num_train=120)
    counts = [len(image.labels) for image in data.splits["train"]]
    assert set(counts) == set(range(7))
    assert np.bincount(np.concatenate([image.labels for image in data.splits["train"]])).min() >= 30
    assert len(data.class_names) == len(set(data.class_names))


def test_target_objects_are_smaller_and_some_classes_are_shared() -> None:
    source, target = drawn("source"), drawn("target")

    def sides(data: DetectionData) -> np.ndarray:
        boxes = np.concatenate([image.boxes_xyxy for image in data.splits["train"]])
        return np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))

    assert np.median(sides(target)) < 0.85 * np.median(sides(source))
    assert 22 < sides(target).min() < sides(source).max() < 120
    assert set(source.class_names) & set(target.class_names) == {"circle", "triangle", "star"}
    assert set(target.class_names) - set(source.class_names) == {"pentagon", "crescent"}


def test_source_pictures_are_bright_and_target_pictures_dark() -> None:
    means = {domain: [pixels(image).mean() for image in drawn(domain).splits["train"][:20]] for domain in DOMAINS}
    assert min(means["source"]) > 128 > max(means["target"])


@pytest.mark.parametrize("transport", [lambda read: read, lambda read: pickle.loads(pickle.dumps(read))])
def test_a_picture_is_the_same_each_time_it_is_read_and_after_pickling(transport: Callable) -> None:
    image, again = (drawn("target", num_train=3).splits["train"][1] for _ in range(2))
    assert np.array_equal(np.asarray(transport(image.read)()), pixels(again))
    assert image.digest == again.digest


@pytest.mark.parametrize("domain", DOMAINS)
def test_pictures_keep_their_look_between_versions(domain: str) -> None:
    """Where this fails the drawing has changed: count `shapes.VERSION` up and renew the numbers."""
    expected = LOOK_OF_VERSION_1[domain]
    image = drawn(domain, num_train=1).splits["train"][0]
    assert shapes.VERSION == 1
    assert image.boxes_xyxy.astype(int).tolist() == expected["boxes"]
    assert pixels(image).reshape(-1, 3).mean(axis=0).tolist() == pytest.approx(expected["colour"], abs=0.5)
    assert painted(domain) == pytest.approx(expected["painted"], rel=0.01)


def painted(domain: str) -> dict[str, int]:
    """Class -> pixels painted in 20 pictures."""
    total: dict[str, int] = dict.fromkeys(STYLES[domain].class_names, 0)
    for seed in range(20):
        for shape in make_scene(STYLES[domain], seed).shapes:
            total[shape.class_name] += int(np.count_nonzero(shape.coverage))
    return total


def test_more_pictures_change_none_of_the_others() -> None:
    few, many = drawn("source", num_train=4), drawn("source", num_train=9)
    assert [image.digest for image in few.splits["train"]] == [image.digest for image in many.splits["train"][:4]]


def test_seed_domain_split_and_index_each_change_the_picture() -> None:
    pictures = [
        drawn("source").splits["train"][0],
        drawn("source").splits["train"][1],
        drawn("source").splits["val"][0],
        drawn("source", draw_seed=1).splits["train"][0],
        drawn("target").splits["train"][0],
    ]
    assert len({image.digest for image in pictures}) == len({pixels(image).tobytes() for image in pictures}) == 5


def test_names_are_unique() -> None:
    data = drawn("source")
    names = [image.name for images in data.splits.values() for image in images]
    assert len(names) == len(set(names)) == 65


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"domain": "mars"}, "dataset.domain=mars: must be one of source, target"),
        ({"domain": "source", "num_train": 0}, "dataset.num_train=0"),
        ({"domain": "source", "num_val": -1}, "dataset.num_val=-1"),
    ],
)
def test_wrong_settings_are_named(settings: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        drawn(**settings)
