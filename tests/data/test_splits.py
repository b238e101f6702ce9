from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from headstart.config.schema import FileDatasetConfig, Overlap
from headstart.data import splits
from headstart.data.types import AnnotatedImage
from headstart.errors import UserError
from headstart.runs.idle import idle


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
        (["train", "val", "test"], {}, ("train", "val", "test")),
        (["train", "val", "test"], {"test_split": "none"}, ("train", "val", None)),
        (["train", "val", "testing"], {"val_split": "testing"}, ("train", "testing", None)),
        (["train", "val", "late"], {"test_split": "late"}, ("train", "val", "late")),
        (["train", "valid"], {}, ("train", "valid", None)),
        (["train2017", "val2017"], {}, ("train2017", "val2017", None)),
        (["Train", "Test"], {}, ("Train", None, "Test")),
        (["train", "test"], {"val_split": "test"}, ("train", "test", None)),
        (["train", "test"], {"test_split": "test"}, ("train", None, "test")),
        (["trainval", "test"], {}, ("trainval", None, "test")),
        (["trainval", "test"], {"val_split": "test"}, ("trainval", "test", None)),
        (["train", "trainval", "val"], {"train_split": "trainval"}, ("trainval", None, None)),
        (["train"], {}, ("train", None, None)),
        ([], {}, ("all", None, None)),
        (["train", "val"], {"train_split": "all"}, ("all", None, None)),
        (["train", "val"], {"train_split": "all", "val_split": "val"}, ("all", "val", None)),
        (["train", "val", "test"], {"train_split": "all"}, ("all", None, None)),
        (["test", "val"], {"train_split": "val"}, ("val", None, "test")),
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
        (["train", "val"], {"test_split": "tets"}, "dataset.test_split=tets: .*it has train, val, or none to measure"),
        (["train", "val"], {"train_split": "none"}, "dataset.train_split=none"),
        (["train", "val"], {"val_split": "train"}, "one split cannot serve twice"),
        (["val", "test"], {}, "none of the splits found .test, val. is known to be for training"),
    ],
)
def test_splits_that_are_not_there_are_refused(found, settings, says):
    with pytest.raises(UserError, match=says):
        splits.choose(found, FileDatasetConfig(**settings))


def test_a_drawn_split_depends_on_the_seed_alone():
    train, val = splits.draw(IMAGES, 0.25, seed=3)
    assert (len(train), len(val)) == (15, 5)
    assert sorted(names(train) + names(val)) == names(IMAGES)
    assert names(splits.draw(IMAGES, 0.25, seed=3)[1]) == names(val)
    assert set(names(splits.draw(IMAGES[::-1], 0.25, seed=3)[1])) == set(names(val))
    assert names(splits.draw(IMAGES, 0.25, seed=4)[1]) != names(val)


def test_equal_pictures_are_on_one_side_of_a_drawn_split_whatever_the_seed():
    doubled = [*IMAGES, *(replace(item, name=f"copy of {item.name}") for item in IMAGES)]
    for seed in range(20):
        train, val = splits.draw(doubled, 0.3, seed)
        assert {item.digest for item in train}.isdisjoint(item.digest for item in val)


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_neither_side_of_a_drawn_split_is_empty(fraction):
    train, val = splits.draw(IMAGES[:2], fraction, seed=0)
    assert len(train) == len(val) == 1


@pytest.mark.parametrize(
    ("images", "fraction"), [(IMAGES[:1], 0.2), ([IMAGES[0]] * 3, 0.2), (IMAGES, 0.0), (IMAGES, 1.0)]
)
def test_a_split_that_cannot_be_drawn_is_refused(images, fraction):
    with pytest.raises(UserError, match=f"dataset.val_fraction={fraction}"):
        splits.draw(images, fraction, seed=0)


def test_a_split_for_testing_without_labels_is_left_out_unless_it_is_named():
    def choose(**settings):
        return splits.choose(["train", "val", "test"], FileDatasetConfig(**settings), lambda name: name != "test")

    assert (choose().test, choose().unlabelled) == (None, "test")
    assert (choose(test_split="test").test, choose(test_split="test").unlabelled) == ("test", None)


OVERLAPPING = {
    "train": [*IMAGES[:5], image("unreadable")],
    "val": IMAGES[4:8],
    "test": [image("again", "picture 0"), IMAGES[7], image("no digest")],
}
"""Picture 4 is in train and val, 0 in train and test, 7 in val and test."""


def test_a_picture_in_two_splits_stays_where_it_is_measured_and_what_leaves_is_counted():
    kept, defects = splits.apart(OVERLAPPING, Overlap.move)
    assert {split: names(images) for split, images in kept.items()} == {
        "train": ["01", "02", "03", "unreadable"],
        "val": ["04", "05", "06"],
        "test": ["again", "07", "no digest"],
    }
    assert {(defect.kind, defect.where, defect.action) for defect in defects} == {
        ("split_overlap", "07 (val) is the picture 07 (test)", "left out of val"),
        ("split_overlap", "00 (train) is the picture again (test)", "left out of train"),
        ("split_overlap", "04 (train) is the picture 04 (val)", "left out of train"),
    }


def test_overlapping_pictures_are_kept_and_counted_where_that_is_asked_for():
    kept, defects = splits.apart(OVERLAPPING, Overlap.keep)
    assert {split: names(images) for split, images in kept.items()} == {
        split: names(images) for split, images in OVERLAPPING.items()
    }
    assert [(defect.kind, defect.action) for defect in defects] == [("split_overlap", "kept in both")] * 3


def test_overlapping_pictures_are_refused_where_that_is_asked_for():
    with pytest.raises(UserError, match=r"dataset.overlap=error: 3 pictures stand in two splits: 07 \(val\) is"):
        splits.apart(OVERLAPPING, Overlap.error)
    assert splits.apart({"train": IMAGES[:3], "val": IMAGES[3:]}, Overlap.error)[1] == []


def test_a_split_of_which_nothing_would_be_left_is_refused():
    with pytest.raises(UserError, match=r"overlap=move: every image of the split train .* such as 01 \(train\)"):
        splits.apart({"train": IMAGES[:2], "val": IMAGES[:9]}, Overlap.move)
    with pytest.raises(UserError, match="every image of the split val"):
        splits.apart({"train": IMAGES[5:], "val": IMAGES[:2], "test": IMAGES[:2]}, Overlap.move)


def test_equal_pictures_of_one_split_are_its_own_affair():
    doubled = {"train": IMAGES[:5], "val": [IMAGES[6], replace(IMAGES[6], name="copy")]}
    kept, defects = splits.apart(doubled, Overlap.move)
    assert ({split: names(images) for split, images in kept.items()}, defects) == (
        {split: names(images) for split, images in doubled.items()},
        [],
    )


def complete(given: dict[str, list[AnnotatedImage]], chosen: splits.Chosen, **settings):
    made, origin = splits.complete(given, chosen, FileDatasetConfig(**settings))
    return {split: names(images) for split, images in made.items()}, origin


def test_test_and_validation_are_drawn_from_train_and_each_says_where_it_is_from():
    made, origin = complete({"train": IMAGES}, splits.Chosen("all"), test_fraction=0.3, split_seed=3)
    assert list(made) == ["train", "val", "test"]
    assert {split: len(images) for split, images in made.items()} == {"train": 10, "val": 4, "test": 6}
    assert sorted(name for images in made.values() for name in images) == names(IMAGES)
    assert origin == {
        "train": "the rest of all images",
        "val": "drawn: 0.2 of all images, dataset.split_seed=3",
        "test": "drawn: 0.3 of all images, dataset.split_seed=3",
    }


def test_a_given_split_for_validation_stays_whole_when_test_is_drawn():
    made, origin = complete({"train": IMAGES[:10], "val": IMAGES[10:]}, splits.Chosen("t", "v"), test_fraction=0.2)
    assert made["val"] == names(IMAGES[10:])
    assert sorted(made["train"] + made["test"]) == names(IMAGES[:10])
    assert len(made["test"]) == 2
    assert origin["val"] == "found: v"


def test_equal_pictures_are_on_one_side_of_all_that_is_drawn():
    doubled = [*IMAGES, *(replace(item, name=f"copy of {item.name}") for item in IMAGES)]
    for seed in range(20):
        config = FileDatasetConfig(test_fraction=0.2, split_seed=seed)
        made, _ = splits.complete({"train": doubled}, splits.Chosen("all"), config)
        sides = [{item.digest for item in images} for images in made.values()]
        assert sum(map(len, sides)) == len(set().union(*sides)) == 20


def test_without_a_share_for_testing_validation_is_drawn_as_ever():
    made, _ = complete({"train": IMAGES}, splits.Chosen("all"), val_fraction=0.25, split_seed=3)
    assert made["val"] == names(splits.draw(IMAGES, 0.25, seed=3)[1])
    assert "test" not in made


def test_a_share_for_testing_is_refused_where_the_data_set_has_a_split_for_it():
    with pytest.raises(UserError, match=r"test_fraction=0.2: the data set has a test split of its own, late"):
        splits.check_shares(splits.Chosen("train", None, "late"), FileDatasetConfig(test_fraction=0.2))
    splits.check_shares(splits.Chosen("train", None, "late"), FileDatasetConfig())
    splits.check_shares(splits.Chosen("train", unlabelled="late"), FileDatasetConfig(test_fraction=0.2))


def test_shares_that_leave_nothing_to_train_on_are_refused():
    halves = FileDatasetConfig(test_fraction=0.5, val_fraction=0.5)
    with pytest.raises(UserError, match=r"test_fraction=0.5 and dataset.val_fraction=0.5 leave nothing"):
        splits.check_shares(splits.Chosen("all"), halves)
    splits.check_shares(splits.Chosen("train", "val"), halves)


def test_a_validation_split_that_is_drawn_when_asked_keeps_its_share_and_seed_in_effect():
    assert splits.choose(["train", "Val", "test"], FileDatasetConfig(val_split="none")).val is None
    assert splits.choose(["train", "Val", "test"], FileDatasetConfig(val_split="vAL")).val == "Val"
    shares = {"dataset.val_fraction": 0.2, "dataset.split_seed": 0}
    named, drawn = (idle({**shares, "dataset.val_split": name}) for name in ("val", "none"))
    assert {*named} == {*shares}
    assert drawn == {}
