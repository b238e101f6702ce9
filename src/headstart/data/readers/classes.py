"""What is odd about the classes of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from headstart.data.policy import Policy
from headstart.data.table import ImageTable
from headstart.data.types import AnnotatedImage

BACKGROUND = ("background", "__background__", "_background_")


def report_names(names: Sequence[str], policy: Policy) -> None:
    """Two names of what may be one class, and a name of what is none: whether they are, only the user can say."""
    first: dict[str, str] = {}
    for name in names:
        one = first.setdefault(name.strip().casefold(), name)
        if one != name:
            policy.report("similar_names", f"{one!r} and {name!r}")
        if name.strip().casefold() in BACKGROUND:
            policy.report("background_class", repr(name))


def report_use(names: Sequence[str], splits: Mapping[str, Iterable[AnnotatedImage]], policy: Policy) -> None:
    """Classes without an object, and those of one split alone."""
    counts = {split: _counts(images, len(names)) for split, images in splits.items()}
    for label, name in enumerate(names):
        where = [split for split, count in counts.items() if count[label]]
        if not where:
            policy.report("unused_class", repr(name))
        elif len(where) == 1 < len(counts):
            policy.report("class_in_one_split", f"{name!r}: {counts[where[0]][label]} in {where[0]}")


def _counts(images: Iterable[AnnotatedImage], num_classes: int) -> np.ndarray:
    return np.bincount(ImageTable.of(images).objects["labels"], minlength=num_classes)
