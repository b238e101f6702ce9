"""Heads for other classes: which row of the source's head belongs to which class of the target."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.detectors.interface import ClassAxis
from headstart.errors import UserError

BACKGROUND = "__background__"
NO_CLASS = (BACKGROUND, "n/a")
"""Rows that are no class: torchvision's COCO heads have 91 slots for 80 classes."""

VOC_TO_COCO = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
"""Classes that Pascal VOC and COCO call differently."""
SAME_CLASS = VOC_TO_COCO | {coco: voc for voc, coco in VOC_TO_COCO.items()}
"""The built-in aliases, in both directions: the source may be either."""

SHOWN = 10
"""Classes that an error lists where no name is near."""


def normalised(name: str) -> str:
    """Lower case, `_` and `-` as spaces, single spaces: `Traffic_Light` and `traffic light` are one class."""
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())


@dataclass(frozen=True)
class ClassMatch:
    """Where the rows of the target's classes come from."""

    row_names: tuple[str, ...]
    """Class of each source row."""
    row_of_class: dict[int, int]
    """Target class -> source row, in the target's order; classes that the source does not know are absent."""
    background_row: int | None
    """Source row of the background; None where it has none."""
    ambiguous: tuple[int, ...] = ()
    """Target classes without a row because a row for them would be a guess."""


def match_classes(
    class_names: Sequence[str], row_names: Sequence[str], aliases: Mapping[str, str] | None = None
) -> ClassMatch:
    """Matches by `aliases` (target class -> source class), else by normalised name, else by the built-in aliases.

    A wrong guess is worse than a new row. A class that could mean two rows stays new, and so do two classes that
    could mean the same row, unless `aliases` says so, or one of them has the row's own name. They are `ambiguous`.
    Raises `UserError` where an alias names a class that target or source does not have.
    """
    rows = {row: name for row, name in enumerate(row_names) if name.strip().lower() not in NO_CLASS}
    chosen = _chosen(dict(enumerate(class_names)), rows, aliases or {})
    open_classes = {i: normalised(name) for i, name in enumerate(class_names) if i not in chosen}
    by_name, by_table = _claims(open_classes, {row: normalised(name) for row, name in rows.items()})
    own = _certain(by_name, taken=())
    guessed = _certain(by_table, taken={*chosen.values(), *(row for found in by_name.values() for row in found)})
    return ClassMatch(
        row_names=tuple(row_names),
        row_of_class=dict(sorted((chosen | own | guessed).items())),
        background_row=list(row_names).index(BACKGROUND) if BACKGROUND in row_names else None,
        ambiguous=tuple(sorted({*by_name, *by_table} - {*own, *guessed})),
    )


Claims = dict[int, list[int]]
"""Target class -> every source row that it could mean."""


def _claims(classes: dict[int, str], rows: dict[int, str]) -> tuple[Claims, Claims]:
    """By the same name, and of the other classes, by the built-in aliases. All names are normalised."""
    rows_of_name: dict[str, list[int]] = {}
    for row, name in rows.items():
        rows_of_name.setdefault(name, []).append(row)
    by_name = {i: rows_of_name[name] for i, name in classes.items() if name in rows_of_name}
    others = {i: SAME_CLASS[name] for i, name in classes.items() if i not in by_name and name in SAME_CLASS}
    return by_name, {i: rows_of_name[name] for i, name in others.items() if name in rows_of_name}


def _certain(claims: Claims, taken: Collection[int]) -> dict[int, int]:
    """Target class -> the one row that it could mean, where no other class claims it and it is not taken."""
    counts = Counter(row for found in claims.values() for row in found)
    return {i: found[0] for i, found in claims.items() if len(found) == 1 == counts[found[0]] and found[0] not in taken}


# ----------------------------------------------------------------------------------------- the user's aliases


def _chosen(classes: dict[int, str], rows: dict[int, str], aliases: Mapping[str, str]) -> dict[int, int]:
    """Target class -> source row, as the user says; several classes may share a row."""
    chosen: dict[int, int] = {}
    for target, source in aliases.items():
        setting = f"source.aliases.{target}={source}"
        index = _named(target, classes, f"{setting}: the data set")
        if index in chosen:
            raise UserError(f"{setting}: source.aliases names the class {classes[index]!r} twice. Remove one of them")
        chosen[index] = _named(source, rows, f"{setting}: the source")
    return chosen


def _named(name: str, names: dict[int, str], owner: str) -> int:
    """Key of the class called `name`: letter by letter, or else normalised."""
    found = [key for key, other in names.items() if other == name] or [
        key for key, other in names.items() if normalised(other) == normalised(name)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        same = ", ".join(repr(names[key]) for key in found)
        raise UserError(f"{owner} has {len(found)} classes of that name ({same}). Write one of them letter by letter")
    raise UserError(f"{owner} has no class {name!r}. {_choices(name, list(names.values()))}")


def _choices(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(normalised(name), [normalised(other) for other in names], cutoff=0.5)
    if near:
        return f"Near: {', '.join(repr(other) for other in names if normalised(other) in near)}"
    return f"It has: {', '.join(names[:SHOWN]) or 'none'}{', …' if len(names) > SHOWN else ''}"


# ------------------------------------------------------------------------------------------------------ rows


def fits(target: Tensor, source: Tensor, axis: ClassAxis, num_rows: int) -> bool:
    """Whether `source` is laid out as `axis` says, over `num_rows` rows (background and empty slots included)."""
    return source.shape[1:] == target.shape[1:] and len(source) == axis.anchors * num_rows * axis.block


def other_anchors(target: Tensor, source: Tensor, axis: ClassAxis, num_rows: int) -> bool:
    """Whether only the number of anchors keeps `source` from fitting."""
    return source.shape[1:] == target.shape[1:] and len(source) % (num_rows * axis.block) == 0


def keep_rows(target: Tensor, source: Tensor, axis: ClassAxis, match: ClassMatch) -> tuple[Tensor, tuple[int, ...]]:
    """A copy of `target` with the rows of matched classes from `source`, and their positions along its first axis.

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
    positions = torch.arange(len(target)).reshape(axis.anchors, -1, axis.block)
    filled = positions[:, sorted(to_row for to_row, _ in pairs)].flatten()
    return new.reshape(target.shape), tuple(filled.tolist())
