"""A picture with its truth and what was found in it, as marks that a page or a logger draws. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.analysis.scored import Scored
from headstart.analysis.summary import wrong


@dataclass(frozen=True)
class Mark:
    """A box of a picture, in its original pixels."""

    box_xyxy: tuple[float, ...]
    label: int
    """Index into the names of `Truth`."""
    right: bool | None
    """Of a detection: that it found an object; of an object: that it was found. None: it is excused, or excuses."""
    score: float | None = None
    """None: an object of the truth."""


@dataclass(frozen=True)
class Marked:
    """A picture by its row in `Truth`."""

    row: int
    truth: tuple[Mark, ...]
    found: tuple[Mark, ...]
    """Those that were chosen, the worst first: the best lie on top."""


def worst_rows(scored: Scored, chosen: np.ndarray, number: int) -> list[int]:
    """Of the pictures with the most wrong detections and missed objects, the most first; those that are all right are
    not among them."""
    counts = wrong(scored, chosen)
    order = np.argsort(-counts, kind="stable")[:number]
    return scored.found.measured[order[counts[order] > 0]].tolist()


def marked(scored: Scored, chosen: np.ndarray, row: int) -> Marked:
    """Of the (D,) bool `chosen` detections those in one picture."""
    truth, found = scored.truth, scored.found
    met = set(scored.partner[chosen & scored.right].tolist())
    objects = np.flatnonzero(truth.images == row).tolist()
    detections = np.flatnonzero((found.images == row) & chosen)
    return Marked(
        row,
        tuple(Mark(_box(truth.boxes_xyxy[i]), int(truth.labels[i]), _met(scored, i, met)) for i in objects),
        tuple(
            Mark(_box(found.boxes_xyxy[i]), int(found.labels[i]), _right(scored, i), float(found.scores[i]))
            for i in detections[np.argsort(found.scores[detections], kind="stable")].tolist()
        ),
    )


def _met(scored: Scored, row: int, met: set[int]) -> bool | None:
    return row in met if scored.wanted[row] else None


def _right(scored: Scored, row: int) -> bool | None:
    return None if scored.excused[row] else bool(scored.right[row])


def _box(box: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(side), 1) for side in box)
