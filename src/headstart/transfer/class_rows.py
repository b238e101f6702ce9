"""Heads for other classes: which row of the source's head belongs to which class of the target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from headstart.detectors.interface import ClassAxis

BACKGROUND = "__background__"
NO_CLASS = (BACKGROUND, "n/a")
"""Rows that are no class: torchvision's COCO heads have 91 slots for 80 classes."""


def normalised(name: str) -> str:
    """Lower case, `_` and `-` as spaces, single spaces: `Traffic_Light` and `traffic light` are one class."""
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())


@dataclass(frozen=True)
class ClassMatch:
    """Where the rows of the target's classes come from."""

    row_names: tuple[str, ...]
    """Class of each source row."""
    row_of_class: dict[int, int]
    """Target class -> source row; classes that the source does not know are absent."""
    background_row: int | None
    """Source row of the background; None where it has none."""


def match_classes(class_names: Sequence[str], row_names: Sequence[str]) -> ClassMatch:
    """Matches by normalised name. A name that two source rows share is ambiguous: that class stays new."""
    known = {row: normalised(name) for row, name in enumerate(row_names) if name.strip().lower() not in NO_CLASS}
    counts = Counter(known.values())
    row_of_name = {name: row for row, name in known.items() if counts[name] == 1}
    rows = {
        index: row_of_name[normalised(name)]
        for index, name in enumerate(class_names)
        if normalised(name) in row_of_name
    }
    background = list(row_names).index(BACKGROUND) if BACKGROUND in row_names else None
    return ClassMatch(tuple(row_names), rows, background)


def fits(target: Tensor, source: Tensor, axis: ClassAxis, num_rows: int) -> bool:
    """Whether `source` is laid out as `axis` says, over `num_rows` rows (background and empty slots included)."""
    return source.shape[1:] == target.shape[1:] and len(source) == axis.anchors * num_rows * axis.block


def other_anchors(target: Tensor, source: Tensor, axis: ClassAxis, num_rows: int) -> bool:
    """Whether only the number of anchors keeps `source` from fitting."""
    return source.shape[1:] == target.shape[1:] and len(source) % (num_rows * axis.block) == 0


def keep_rows(target: Tensor, source: Tensor, axis: ClassAxis, match: ClassMatch) -> tuple[Tensor, int]:
    """A copy of `target` with the rows of matched classes from `source`, and how many rows (of each anchor) were kept.

    Both are (anchors * rows * block, ...), as in `ClassAxis`; the source has `len(match.row_names)` rows.
    """
    rest = target.shape[1:]
    new = target.detach().clone().reshape(axis.anchors, -1, axis.block, *rest)
    old = source.reshape(axis.anchors, len(match.row_names), axis.block, *rest).to(new)
    pairs = [(axis.background + index, row) for index, row in match.row_of_class.items()]
    if axis.background and match.background_row is not None:
        pairs.append((0, match.background_row))
    for to_row, from_row in pairs:
        new[:, to_row] = old[:, from_row]
    return new.reshape(target.shape), len(pairs)
