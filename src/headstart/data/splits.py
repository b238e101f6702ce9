"""Which images train, validate and test: as the data set says, or drawn where it does not."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from headstart.config.schema import FileDatasetConfig
from headstart.data.types import AnnotatedImage, Defect
from headstart.errors import UserError

ALL = "all"
"""`dataset.train_split=all`: every image that is not in the val or test split asked for; val is drawn from it."""

TRAIN_NAMES = ("train", "train2017", "train2014", "training", "trainval")
VAL_NAMES = ("val", "val2017", "val2014", "valid", "validation", "dev")
TEST_NAMES = ("test", "test2017", "testing")
NAMES = TRAIN_NAMES + VAL_NAMES + TEST_NAMES


@dataclass(frozen=True)
class Chosen:
    """Names of splits of the data set; `val` None: draw it from `train`."""

    train: str
    val: str | None
    test: str | None


def choose(found: Collection[str], config: FileDatasetConfig) -> Chosen:
    """The splits a run uses, of those the data set has. UserError for a name it does not have."""
    for key in ("train_split", "val_split", "test_split"):
        _check(key, getattr(config, key), found, allow_all=key == "train_split")
    train = config.train_split or _first(TRAIN_NAMES, found) or _no_train(found)
    taken = {config.test_split, train}
    # trainval holds val, so only a test split is apart from it
    names = TEST_NAMES if train.startswith("trainval") else VAL_NAMES + TEST_NAMES
    val = config.val_split
    if val is None and train != ALL:
        val = _first(names, [name for name in found if name not in taken])
    _check_apart(Chosen(train, val, config.test_split))
    return Chosen(train, val, config.test_split)


def make(
    images: Sequence[AnnotatedImage], val_fraction: float, seed: int
) -> tuple[list[AnnotatedImage], list[AnnotatedImage]]:
    """(train, val) drawn by image with `seed`; equal pictures (same digest) are on the same side.

    The draw depends on names and seed alone, not on the order of the images. Both sides hold at least one picture.
    """
    groups: dict[str, list[AnnotatedImage]] = defaultdict(list)
    for image in sorted(images, key=lambda image: image.name):
        groups[image.digest or image.name].append(image)
    if not 0 < val_fraction < 1 or len(groups) < 2:
        raise UserError(
            f"dataset.val_fraction={val_fraction}: no validation split can be drawn from {len(groups)} different "
            "images; it needs two or more, and a share between 0 and 1. Or name a split: dataset.val_split=…"
        )
    order = list(groups.values())
    random.Random(seed).shuffle(order)
    wanted = max(1, round(len(images) * val_fraction))
    val: set[str] = set()
    for group in order[:-1]:
        if len(val) >= wanted:
            break
        val.update(image.name for image in group)
    return [i for i in images if i.name not in val], [i for i in images if i.name in val]


def overlap(splits: dict[str, list[AnnotatedImage]]) -> list[Defect]:
    """One `split_overlap` for each picture of an evaluation split that is trained on as well."""
    train = {image.digest: image.name for image in splits["train"] if image.digest}
    return [
        Defect("split_overlap", f"{image.name} ({name}) is the picture {train[image.digest]} (train)", "kept both")
        for name, images in splits.items()
        if name != "train"
        for image in images
        if image.digest in train
    ]


def _first(names: Sequence[str], found: Collection[str]) -> str | None:
    folded = {name.casefold(): name for name in found}
    return next((folded[name] for name in names if name in folded), None)


def _no_train(found: Collection[str]) -> str:
    if _first(NAMES, found) is None:
        return ALL
    raise UserError(
        f"dataset.train_split: none of the splits found ({', '.join(sorted(found))}) is known to be for training; "
        f"say which with dataset.train_split=<name>, or take every image with dataset.train_split={ALL}."
    )


def _check(key: str, name: str | None, found: Collection[str], allow_all: bool) -> None:
    if name is None or name in found or (allow_all and name == ALL):
        return
    has = f"it has {', '.join(sorted(found))}" if found else "it has none"
    all_too = f", or {ALL} for every image" if allow_all else ""
    raise UserError(f"dataset.{key}={name}: the data set has no split of this name; {has}{all_too}.")


def _check_apart(chosen: Chosen) -> None:
    names = [name for name in (chosen.train, chosen.val, chosen.test) if name is not None]
    if len(set(names)) < len(names):
        raise UserError(
            f"dataset.train_split={chosen.train}, val_split={chosen.val}, test_split={chosen.test}: one split cannot "
            "serve twice; name different ones, or leave val_split out to draw it from the training images."
        )
