"""Whether the numbers of a split's boxes are what its format says: pixels, and corners or sizes.

A single odd box is mended and counted; these are doubts about all of them, which mending would only hide. The limits
are such that no sound set meets them: objects may touch the picture's edges, and annotations overlap them by some
pixels, but not one box of five by a share of the picture that another reading of the same numbers explains.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import numpy as np

from headstart.errors import UserError

FEWEST = 4
"""Different boxes: less may be mistakes of a hand."""
SHARE = 0.2
"""Of all boxes."""
EXPLAINED = 0.95
"""Of the boxes out of place that the other reading puts into the picture."""
FAR = 0.02
"""Of the picture's side: what leaves it by less is rounded, or counted from 1."""
NORMALISED = 0.1
"""Share of the boxes within the picture's first pixel that makes them shares of width and height."""
PERCENT, LEAST_SIDE, FEWEST_PERCENT = 100, 300, 20
"""As many boxes, all within the first 100 pixels of pictures of such sides."""


Place = Callable[[int], str]
Report = Callable[[str, str, int | None], object]


class Form(Enum):
    """What the four numbers of a box are."""

    corners = "x1, y1, x2, y2"
    xywh = "x, y, width, height"
    centre = "x centre, y centre, width, height"
    turned_corners = "y1, x1, y2, x2"
    turned_xywh = "y, x, height, width"


_TURNED = [1, 0, 3, 2]
_WRITTEN: dict[Form, Callable[[np.ndarray], np.ndarray]] = {
    Form.corners: lambda boxes: boxes,
    Form.xywh: lambda boxes: np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]),
    Form.centre: lambda boxes: np.hstack([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]]),
    Form.turned_corners: lambda boxes: boxes[:, _TURNED],
    Form.turned_xywh: lambda boxes: _WRITTEN[Form.xywh](boxes)[:, _TURNED],
}
_CORNERS: dict[Form, Callable[[np.ndarray], np.ndarray]] = {
    Form.corners: lambda boxes: boxes,
    Form.xywh: lambda boxes: np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]),
    Form.centre: lambda boxes: np.hstack([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2]),
    Form.turned_corners: lambda boxes: boxes[:, _TURNED],
    Form.turned_xywh: lambda boxes: _CORNERS[Form.xywh](boxes[:, _TURNED]),
}


def check(split: str, boxes_xyxy: np.ndarray, sizes_wh: np.ndarray, place: Place, form: Form, report: Report) -> None:
    """UserError where most boxes are in other units or of another form than `form`; each lesser doubt is reported.

    `boxes_xyxy`: (N, 4) pixels, as corners, before any mending; `sizes_wh`: (N, 2), of the picture of each; `place`:
    file and object of a box, by its number; `report` takes a kind, a place, and the number of the box, None: of all.
    """
    known = np.flatnonzero(np.all(np.isfinite(boxes_xyxy), axis=1))
    boxes, sizes = boxes_xyxy[known], sizes_wh[known]
    if not len(boxes):
        return

    def where(number: int) -> str:
        return place(int(known[number]))

    small = _in_first_pixel(boxes, sizes)
    many = small.sum() >= FEWEST and _are_many(boxes, small)
    if many and small.mean() > NORMALISED:
        raise UserError(_normalised(split, small, boxes, where, form))
    check_form(split, boxes, sizes, where, form)
    for i in np.flatnonzero(small & many).tolist():
        report("box_in_first_pixel", where(i), int(known[i]))
    if _may_be_percent(boxes, sizes):
        report("doubtful_units", _percent(split, len(boxes), where), None)


def _in_first_pixel(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(N,) bool: what is no object in a picture of some pixels; 1-based corners were moved by one before."""
    fractional = np.any(boxes % 1 != 0, axis=1)  # a pixel is a box as well, and so are zeros alone
    return np.all(np.abs(boxes) <= 1, axis=1) & fractional & np.all(sizes > 4, axis=1)


def _are_many(boxes: np.ndarray, which: np.ndarray) -> bool:
    """Whether these are no slips of a hand: all, or several different ones."""
    return bool(which.all()) or len(np.unique(boxes[which], axis=0)) >= FEWEST


def check_form(split: str, boxes: np.ndarray, sizes: np.ndarray, where: Place, form: Form) -> None:
    """UserError where another form than `form` explains most boxes that leave their pictures.

    `boxes`: (N, 4) corners, finite; `sizes`: (N, 2), or ones where the boxes are shares of them.
    """
    wrong = ~fits(boxes, sizes)
    if wrong.sum() < max(FEWEST, SHARE * len(boxes)) or not _are_many(boxes, wrong):
        return
    written = _WRITTEN[form](boxes)
    explained = {other: fits(_CORNERS[other](written), sizes) & wrong for other in Form if other is not form}
    best = max(explained, key=lambda other: explained[other].sum())
    if explained[best].sum() >= EXPLAINED * wrong.sum():
        raise UserError(_other_form(split, wrong, explained[best], boxes, where, form, best))


def fits(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(N,) bool: has an area, and does not leave the picture by much."""
    slack = np.where(sizes > 1, np.maximum(FAR * sizes, 2), FAR)
    ordered = boxes[:, 2:] > boxes[:, :2]
    return np.all(ordered & (boxes[:, :2] >= -slack) & (boxes[:, 2:] <= sizes + slack), axis=1)


def _may_be_percent(boxes: np.ndarray, sizes: np.ndarray) -> bool:
    """Only a doubt: objects may well lie in a corner."""
    within = (boxes <= PERCENT).all() and (sizes >= LEAST_SIDE).all() and len(boxes) >= FEWEST_PERCENT
    return bool(within and (boxes.max(axis=0)[2:] >= 0.9 * PERCENT).all())


def _percent(split: str, number: int, where: Place) -> str:
    return f"{where(0)}: all {number} boxes of the split {split} lie in the first {PERCENT} pixels: are these percent?"


def _normalised(split: str, small: np.ndarray, boxes: np.ndarray, where: Place, form: Form) -> str:
    i = int(np.flatnonzero(small)[0])
    return (
        f"{where(i)}: {_numbers(boxes, i, form)} lies within the first pixel of its picture, as do {small.sum()} of "
        f"the {len(boxes)} boxes of the split {split}: they are shares of width and height (0 to 1), where pixels "
        "are due. Multiply them by the pictures' sizes, or export the annotations in pixels."
    )


def _other_form(
    split: str,
    wrong: np.ndarray,
    explained: np.ndarray,
    boxes: np.ndarray,
    where: Place,
    form: Form,
    other: Form,
) -> str:
    i = int(np.flatnonzero(explained)[0])
    return (
        f"{where(i)}: {_numbers(boxes, i, form)} as {form.value} is no box in its picture, nor are {wrong.sum()} of "
        f"the {len(boxes)} of the split {split}; as {other.value} {explained.sum()} of these are. The file seems to "
        f"have {other.value} where {form.value} is due: export it again, or rewrite its boxes."
    )


def _numbers(boxes: np.ndarray, i: int, form: Form) -> str:
    return f"({', '.join(f'{value:.6g}' for value in _WRITTEN[form](boxes[i : i + 1])[0])})"
