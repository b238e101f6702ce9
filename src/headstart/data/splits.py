"""Which images train, validate and test: as the data set says, or drawn where it does not."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from headstart.config.schema import FileDatasetConfig, Overlap
from headstart.data.table import ImageTable
from headstart.data.types import AnnotatedImage, Defect
from headstart.errors import UserError

ALL = "all"
"""`dataset.train_split=all`: every image that is not in the val or test split asked for; val is drawn from it."""
NONE = "none"
"""`dataset.test_split=none`: nothing is measured at the end, whatever the data set has; `dataset.val_split=none`: what
validates is drawn, whatever the data set has."""

TRAIN_NAMES = ("train", "train2017", "train2014", "training", "trainval")
VAL_NAMES = ("val", "val2017", "val2014", "valid", "validation", "dev")
TEST_NAMES = ("test", "test2017", "testing")
NAMES = TRAIN_NAMES + VAL_NAMES + TEST_NAMES


@dataclass(frozen=True)
class Chosen:
    """What the splits are called in the data set; `val` None: draw it from `train`."""

    train: str
    val: str | None = None
    test: str | None = None
    unlabelled: str | None = None
    """A split for testing that cannot be measured."""


def choose(
    found: Collection[str], config: FileDatasetConfig, labelled: Callable[[str], bool] = lambda name: True
) -> Chosen:
    """The splits a run uses, of those the data set has. UserError for a name it does not have.

    What is called test never validates, for validation chooses the epoch; `labelled` says whether it can be measured.
    """
    asked, val, test = (_known(f"{part}_split", getattr(config, f"{part}_split"), found) for part in _WORDS)
    train = asked or _first(TRAIN_NAMES, found) or _no_train(found)
    # trainval holds val
    if val is None and train != ALL and not train.startswith("trainval"):
        val = _first(VAL_NAMES, [name for name in found if name not in (train, test)])
    unlabelled = None
    if test is None and train != ALL:
        test = _first(TEST_NAMES, [name for name in found if name not in (train, val)])
        if test is not None and not labelled(test):
            test, unlabelled = None, test
    chosen = Chosen(train, None if val == NONE else val, None if test == NONE else test, unlabelled)
    _check_apart(chosen)
    return chosen


def apart(
    given: Mapping[str, Sequence[AnnotatedImage]], overlap: Overlap
) -> tuple[dict[str, ImageTable], list[Defect]]:
    """(the splits without pictures that stand in another one, a `split_overlap` for each).

    They stay where they are measured: what test has leaves val, and what these have leaves train. UserError where
    nothing is left, or with `Overlap.error` where there are any.
    """
    seen: dict[str, str] = {}
    kept: dict[str, ImageTable] = {}
    defects: list[Defect] = []
    for split in (name for name in ("test", "val", "train") if name in given):
        images = ImageTable.of(given[split])
        digests = images.digests
        twice = [number for number, digest in enumerate(digests) if digest in seen]
        moved = overlap is Overlap.move and bool(twice)
        action = f"left out of {split}" if moved else "kept in both"
        defects += [
            Defect("split_overlap", f"{images.names[i]} ({split}) is the picture {seen[digests[i]]}", action)
            for i in twice
        ]
        kept[split] = images.take(sorted({*range(len(images))}.difference(twice))) if moved else images
        if not kept[split]:
            raise UserError(_none_left(split, defects[-1]))
        named = zip(digests, images.names, strict=True)
        seen |= {digest: f"{name} ({split})" for digest, name in named if digest}
    if defects and overlap is Overlap.error:
        raise UserError(_overlap_refused(defects))
    return kept, defects


def check_shares(chosen: Chosen, config: FileDatasetConfig) -> None:
    """UserError where a test split is to be drawn beside one that there is, or nothing would be left to train on."""
    if config.test_fraction and chosen.test is not None:
        raise UserError(
            f"dataset.test_fraction={config.test_fraction}: the data set has a test split of its own, {chosen.test}. "
            f"Leave test_fraction at 0 to use it, or set dataset.test_split={NONE} to draw one in its place."
        )
    if config.test_fraction and chosen.val is None and config.test_fraction + config.val_fraction >= 1:
        raise UserError(
            f"dataset.test_fraction={config.test_fraction} and dataset.val_fraction={config.val_fraction} leave "
            "nothing to train on: together they must be below 1."
        )


def complete(
    given: Mapping[str, Sequence[AnnotatedImage]], chosen: Chosen, config: FileDatasetConfig
) -> tuple[dict[str, Sequence[AnnotatedImage]], dict[str, str]]:
    """(train, val and test, of which those not given are drawn from train; split -> where it is from).

    Both shares are of the training images given; test is drawn first, and only where `test_fraction` asks for it.
    """
    train = "all images" if chosen.train == ALL else chosen.train
    origin = {"train": f"found: {train}"}
    origin |= {name: f"found: {where}" for name, where in (("val", chosen.val), ("test", chosen.test)) if where}
    splits: dict[str, Sequence[AnnotatedImage]] = dict(given)
    total = len(given["train"])
    for name, share in (("test", config.test_fraction), ("val", config.val_fraction)):
        if name in splits or (name == "test" and not share):
            continue
        splits["train"], splits[name] = draw(splits["train"], share, config.split_seed, name, total)
        origin[name] = f"drawn: {share:.3g} of {train}, dataset.split_seed={config.split_seed}"
        origin["train"] = f"the rest of {train}"
    return {name: splits[name] for name in ("train", "val", "test") if name in splits}, origin


def draw(
    images: Sequence[AnnotatedImage], share: float, seed: int, split: str = "val", total: int | None = None
) -> tuple[ImageTable, ImageTable]:
    """(rest, drawn), by image with `seed`; equal pictures (same digest) are on the same side.

    `share` is of `total` images, None: of these. The draw depends on names and seed alone, not on the order of the
    images. Both sides hold at least one picture.
    """
    table = ImageTable.of(images)
    names, digests = [*table.names], table.digests
    groups: dict[str, list[int]] = defaultdict(list)
    for number in sorted(range(len(table)), key=names.__getitem__):
        groups[digests[number] or names[number]].append(number)
    wanted = max(1, round((total or len(table)) * share))
    if not 0 < share < 1 or len(groups) < 2:
        raise UserError(
            f"dataset.{split}_fraction={share}: no {split} split can be drawn from {len(groups)} different "
            f"images; it needs two or more, and a share between 0 and 1. Or name a split: dataset.{split}_split=…"
        )
    order = list(groups.values())
    random.Random(seed).shuffle(order)
    drawn: set[int] = set()
    for group in order[:-1]:
        if len(drawn) >= wanted:
            break
        drawn.update(group)
    return table.take(sorted({*range(len(table))} - drawn)), table.take(sorted(drawn))


def _none_left(split: str, last: Defect) -> str:
    return (
        f"dataset.overlap={Overlap.move.value}: every image of the split {split} stands in another one as well, such "
        f"as {last.where}. Name other splits (dataset.train_split, val_split, test_split), or leave out "
        f"dataset.val_split to draw it from the training images."
    )


def _overlap_refused(defects: Sequence[Defect]) -> str:
    shown = "; ".join(defect.where for defect in defects[:3])
    return (
        f"dataset.overlap={Overlap.error.value}: {len(defects)} pictures stand in two splits: {shown}. Remove one of "
        f"each pair, or let dataset.overlap={Overlap.move.value} keep them where they are measured alone."
    )


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


_WORDS = {
    "train": (ALL, "for every image"),
    "val": (NONE, "to draw it from the training images"),
    "test": (NONE, "to measure none"),
}
"""Split -> what its setting may be beside a name, and why."""


def _known(key: str, name: str | None, found: Collection[str]) -> str | None:
    """The name as the data set has it, whatever its letter case."""
    word, purpose = _WORDS[key.removesuffix("_split")]
    if name is None or name in found or name == word:
        return name
    fits = [other for other in found if other.casefold() == name.casefold()]
    if len(fits) == 1:
        return fits[0]
    has = f"it has {', '.join(sorted(found))}" if found else "it has none"
    raise UserError(f"dataset.{key}={name}: the data set has no split of this name; {has}, or {word} {purpose}.")


def _check_apart(chosen: Chosen) -> None:
    names = [name for name in (chosen.train, chosen.val, chosen.test) if name is not None]
    if len(set(names)) < len(names):
        raise UserError(
            f"dataset.train_split={chosen.train}, val_split={chosen.val}, test_split={chosen.test}: one split cannot "
            "serve twice; name different ones, or leave val_split out to draw it from the training images."
        )
