from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from headstart.config.schema import FileDatasetConfig
from headstart.data import splits
from headstart.data.types import AnnotatedImage
from headstart.errors import UserError


def image(name: str, digest: str = "") -> AnnotatedImage:
    return AnnotatedImage(
        name,
        lambda: PIL.Image.new("RGB", (9, 9)),
        (9, 9),
        np.zeros((0, 4)),
        np.zeros(0, int),
        *[np.zeros(0, bool)] * 2,
        np.zeros(0),
        digest,
    )


def names(images: list[AnnotatedImage]) -> list[str]:
    return [item.name for item in images]


IMAGES = [image(f"{i:02}", digest=f"picture {i}") for i in range(20)]


@pytest.mark.parametrize(
    ("found", "settings", "expected"),
    [
        (["train", "val", "test"], {}, ("train", "val", None)),
        (["train", "val", "test"], {"test_split": "test"}, ("train", "val", "test")),
        (["train", "valid"], {}, ("train", "valid", None)),
        (["train2017", "val2017"], {}, ("train2017", "val2017", None)),
        (["Train", "Test"], {}, ("Train", "Test", None)),
        (["train", "test"], {"test_split": "test"}, ("train", None, "test")),
        (["trainval", "test"], {}, ("trainval", "test", None)),
        (["train", "trainval", "val"], {"train_split": "trainval"}, ("trainval", None, None)),
        (["train"], {}, ("train", None, None)),
        ([], {}, ("all", None, None)),
        (["train", "val"], {"train_split": "all"}, ("all", None, None)),
        (["train", "val"], {"train_split": "all", "val_split": "val"}, ("all", "val", None)),
        (["test", "val"], {"train_split": "val"}, ("val", "test", None)),
    ],
)
def test_splits_are_found_by_their_names_or_as_asked(found, settings, expected):
    chosen = splits.choose(found, FileDatasetConfig(**settings))
    assert (chosen.train, chosen.val, chosen.test) == expected


@pytest.mark.parametrize(
    ("found", "settings", "says"),
    [
        (["train", "val"], {"val_split": "vla"}, "dataset.val_split=vla: .*it has train, val"),
        ([], {"train_split": "train"}, "dataset.train_split=train: .*it has none, or all"),
        (["train", "val"], {"val_split": "all"}, "dataset.val_split=all"),
        (["train", "val"], {"val_split": "train"}, "one split cannot serve twice"),
        (["val", "test"], {}, "none of the splits found .test, val. is known to be for training"),
    ],
)
def test_splits_that_are_not_there_are_refused(found, settings, says):
    with pytest.raises(UserError, match=says):
        splits.choose(found, FileDatasetConfig(**settings))


def test_a_drawn_split_depends_on_the_seed_alone():
    train, val = splits.make(IMAGES, 0.25, seed=3)
    assert (len(train), len(val)) == (15, 5)
    assert sorted(names(train) + names(val)) == names(IMAGES)
    assert names(splits.make(IMAGES, 0.25, seed=3)[1]) == names(val)
    assert set(names(splits.make(IMAGES[::-1], 0.25, seed=3)[1])) == set(names(val))
    assert names(splits.make(IMAGES, 0.25, seed=4)[1]) != names(val)


def test_equal_pictures_are_on_one_side_of_a_drawn_split_whatever_the_seed():
    doubled = [*IMAGES, *(replace(item, name=f"copy of {item.name}") for item in IMAGES)]
    for seed in range(20):
        train, val = splits.make(doubled, 0.3, seed)
        assert {item.digest for item in train}.isdisjoint(item.digest for item in val)


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_neither_side_of_a_drawn_split_is_empty(fraction):
    train, val = splits.make(IMAGES[:2], fraction, seed=0)
    assert len(train) == len(val) == 1


@pytest.mark.parametrize(
    ("images", "fraction"), [(IMAGES[:1], 0.2), ([IMAGES[0]] * 3, 0.2), (IMAGES, 0.0), (IMAGES, 1.0)]
)
def test_a_split_that_cannot_be_drawn_is_refused(images, fraction):
    with pytest.raises(UserError, match=f"dataset.val_fraction={fraction}"):
        splits.make(images, fraction, seed=0)


def test_overlap_counts_evaluated_pictures_that_are_trained_on():
    given = {"train": IMAGES[:5], "val": IMAGES[4:8], "test": [image("again", "picture 0"), image("no digest")]}
    assert [defect.where for defect in splits.overlap(given)] == [
        "04 (val) is the picture 04 (train)",
        "again (test) is the picture 00 (train)",
    ]
