"""The boxes of a split: all at once, what is wrong with each, and what is done about it.

A box has one fault at most of those that make it no box of its picture; beside that it may be tiny or doubled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from headstart.config.kinds import Action
from headstart.data.policy import Policy
from headstart.data.readers.seen import Boxes

MIN_SIDE = 0.1
"""Pixels: narrower or lower than this, a box has no area, and in float32 perhaps none at all."""
ROUNDING = 0.5
"""Pixels: a box that leaves the image by less is rounded, not wrong; it is clipped without a word."""
_OVERSIZED = 0.02, 2.0
"""Share of the picture's side, or pixels, by which a box is larger than it at least: less is a frame around all."""


def mend(boxes: Boxes, policy: Policy, min_side: float) -> tuple[np.ndarray, np.ndarray, set[int]]:
    """(clipped boxes (N, 4); (N,) bool: which of them to keep; numbers of the images to leave out)."""
    written = boxes.xyxy
    clipped = written.clip(0, np.tile(boxes.sizes_wh, 2))
    keep = np.ones(len(written), dtype=bool)
    left_out: set[int] = set()
    for kind, which in _faults(written, clipped, boxes.sizes_wh, min_side):
        _report(kind, which, boxes, policy, keep, left_out)
    for kind, which in _doubles(boxes, keep & np.isfinite(written).all(axis=1)):
        _report(kind, which, boxes, policy, keep, left_out)
    return clipped, keep, left_out


def _report(kind: str, which: np.ndarray, boxes: Boxes, policy: Policy, keep: np.ndarray, left_out: set[int]) -> None:
    for i in which.tolist():
        action = policy.report(kind, boxes.described(i), boxes.image_of(i).name)
        keep[i] &= action is not Action.skip_box
        if action is Action.skip_image:
            left_out.add(int(boxes.image[i]))


def _faults(
    written: np.ndarray, clipped: np.ndarray, sizes_wh: np.ndarray, min_side: float
) -> Iterator[tuple[str, np.ndarray]]:
    """Kind -> numbers of the boxes that have it."""
    finite = np.isfinite(written).all(axis=1)
    with np.errstate(invalid="ignore"):  # of infinite corners
        sides, left = written[:, 2:] - written[:, :2], clipped[:, 2:] - clipped[:, :2]
    yield "not_finite_box", np.flatnonzero(~finite)
    shortest = np.where(finite, sides.min(axis=1, initial=np.inf), np.inf)
    yield "inverted_box", np.flatnonzero(shortest <= -MIN_SIDE)
    yield "empty_box", np.flatnonzero((shortest > -MIN_SIDE) & (shortest < MIN_SIDE))
    sound = finite & (shortest >= MIN_SIDE)
    inside = left.min(axis=1, initial=np.inf)
    yield "box_outside", np.flatnonzero(sound & (inside < MIN_SIDE))
    sound &= inside >= MIN_SIDE
    oversized = sound & (sides > sizes_wh + np.maximum(_OVERSIZED[0] * sizes_wh, _OVERSIZED[1])).any(axis=1)
    yield "oversized_box", np.flatnonzero(oversized)
    yield "clipped_box", np.flatnonzero(sound & ~oversized & (np.abs(clipped - written) >= ROUNDING).any(axis=1))
    yield "tiny_box", np.flatnonzero(sound & (inside < min_side))


def _doubles(boxes: Boxes, among: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Boxes that stand in their picture before, as an object of the same class or of another one."""
    doubled: list[int] = []
    contradicted: list[int] = []
    for group in _equal_boxes(boxes, np.flatnonzero(among)):
        seen: set[str] = set()
        for i in group:
            name = boxes.class_of(i)
            if seen:
                (doubled if name in seen else contradicted).append(i)
            seen.add(name)
    yield "doubled_box", np.array(sorted(doubled), dtype=np.int64)
    yield "box_of_two_classes", np.array(sorted(contradicted), dtype=np.int64)


def _equal_boxes(boxes: Boxes, numbers: np.ndarray) -> list[list[int]]:
    """Numbers of boxes that are equal, in one image. A sum of products tells most apart, in one sort."""
    weights = np.array([1.0, 1.618033988749895, 2.414213562373095, 3.302775637731995])
    with np.errstate(over="ignore", invalid="ignore"):  # of boxes at 1e308: those of one sum are looked at below
        sums = boxes.xyxy[numbers] @ weights + 7919.3 * boxes.image[numbers]
    _, which, counts = np.unique(sums, return_inverse=True, return_counts=True)
    groups: dict[tuple[float, ...], list[int]] = defaultdict(list)
    for i in numbers[counts[which.reshape(-1)] > 1].tolist():
        groups[(float(boxes.image[i]), *boxes.xyxy[i].tolist())].append(i)
    return [group for group in groups.values() if len(group) > 1]
