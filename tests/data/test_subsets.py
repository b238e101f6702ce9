from collections import Counter

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.data import subsets
from headstart.data.types import AnnotatedImage


def image(name: str, *labels: int, ignored: str = "") -> AnnotatedImage:
    boxes = np.tile([0.0, 0.0, 5.0, 5.0], (len(labels), 1))
    return AnnotatedImage(
        name=name,
        read=lambda: PIL.Image.new("RGB", (9, 9)),
        size_wh=(9, 9),
        boxes_xyxy=boxes,
        labels=np.array(labels, np.int64),
        crowd=np.full(len(labels), ignored == "crowd"),
        difficult=np.full(len(labels), ignored == "difficult"),
        area=np.full(len(labels), 25.0),
    )


def names(images: list[AnnotatedImage]) -> list[str]:
    return [item.name for item in images]


IMAGES = [image(f"{i:03}", i % 3) for i in range(100)]
some_images = st.lists(st.lists(st.integers(0, 3), max_size=4), min_size=1, max_size=25).map(
    lambda rows: [image(f"{i:03}", *labels) for i, labels in enumerate(rows)]
)


@pytest.mark.parametrize(("fraction", "count"), [(0.1, 10), (0.255, 26), (0.001, 1), (1.0, 100)])
def test_a_fraction_has_its_number_of_images_and_at_least_one(fraction, count):
    assert len(subsets.take_fraction(IMAGES, fraction, seed=0)) == count


@given(st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 50))
def test_a_smaller_fraction_is_part_of_a_larger_one_in_the_same_order(a, b, seed):
    small, large = (names(subsets.take_fraction(IMAGES, fraction, seed)) for fraction in sorted((a, b)))
    assert set(small) <= set(large)
    assert large == sorted(large)


def test_fraction_and_shots_depend_on_the_seed_and_not_on_the_order_of_the_images():
    for take in (
        lambda images, seed: subsets.take_fraction(images, 0.2, seed),
        lambda images, seed: subsets.take_shots(images, 3, 3, seed),
    ):
        assert names(take(IMAGES, 0)) == names(take(IMAGES, 0)) != names(take(IMAGES, 1))
        assert set(names(take(IMAGES[::-1], 0))) == set(names(take(IMAGES, 0)))


@given(some_images, st.integers(1, 5), st.integers(0, 20))
def test_shots_hold_every_class_often_enough_and_are_part_of_more_shots(images, shots, seed):
    taken = subsets.take_shots(images, shots, 4, seed)
    there = Counter(label for item in images for label in set(item.labels.tolist()))
    have = Counter(label for item in taken for label in set(item.labels.tolist()))
    assert all(have[label] >= min(shots, there[label]) for label in there)
    assert set(names(taken)) <= set(names(subsets.take_shots(images, shots + 1, 4, seed)))
    assert all(len(item.labels) for item in taken)


def test_shots_take_no_more_images_than_they_need():
    assert len(subsets.take_shots(IMAGES, 4, 3, seed=0)) == 12  # one class in each image
    assert len(subsets.take_shots([image(str(i), 0, 1, 2) for i in range(9)], 4, 3, seed=0)) == 4


def test_ignored_boxes_are_no_shots():
    ignored = [image(kind, 0, ignored=kind) for kind in ("crowd", "difficult")]
    images = [image("seen", 0), *ignored, image("negative")]
    assert names(subsets.take_shots(images, 2, 1, seed=0)) == ["seen"]


def test_shots_are_part_of_more_shots_where_images_of_rare_classes_hold_the_common_one():
    """Drawn in one go, two shots would find class 2 in a2 and c2, and leave out the image that one shot took."""
    images = [image("a1", 0), image("a2", 0, 2), image("c1", 1), image("c2", 1, 2), *(image(f"b{i}", 2) for i in "123")]
    for seed in range(50):
        one, two = (set(names(subsets.take_shots(images, shots, 3, seed))) for shots in (1, 2))
        assert one <= two
