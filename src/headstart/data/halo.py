"""From what was found in overlapping tiles to what is in the picture: an object across a border is one detection.

The overlap is a halo around each tile. A detection that ends where its tile does, within `TOUCH`, while the picture
goes on there, is a fragment: cut. Greedy, by class, and only between different views (within one, the detector has
settled it):

1. What is not cut comes first, the best first, and takes away others of an IoU of `SAME` or more.
2. It also takes away the fragments that it covers by `SAME` of their own area (intersection over the smaller box, where
   the fragment is that): what one tile cuts, its neighbour or the whole picture shows whole. Unless its score is below
   `WEAK` of theirs: then they are all there is of the object.
3. Fragments that are left are of objects larger than the overlap. Two of them meet where one ends at a tile's border
   and the other begins at its neighbour's, at the same height or width (an IoU of `SAME` along the border), or where
   one lies in the other by `SAME` of the smaller: they become the box around both, with the better score, and so on
   over any number of tiles.
4. What came of that counts as whole, and 1 and 2 are done again, now also among fragments.

After SAHI's GREEDYNMM with its metric IOS (Akyon et al., Slicing Aided Hyper Inference, ICIP 2022), which merges all
that overlap in that way, cut or not: small objects within large ones of their class do not survive it, so that here it
is for fragments alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SAME = 0.5
TOUCH = 0.02
"""Of a tile's side."""
WEAK = 0.25
_PAIRS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Found:
    """Detections of one picture, in its pixels."""

    boxes_xyxy: np.ndarray
    """(D, 4) float64."""
    scores: np.ndarray
    """(D,)."""
    labels: np.ndarray
    """(D,) int."""
    views: np.ndarray
    """(D,) int: in which of them."""
    cut: np.ndarray
    """(D, 4) bool: at the left, at the top, at the right, at the bottom."""
    near: np.ndarray
    """(D,) pixels: how near to its view's border a box is cut."""

    @staticmethod
    def of(
        boxes_xyxy: np.ndarray,
        scores: np.ndarray,
        labels: np.ndarray,
        views: np.ndarray,
        windows_xyxy: np.ndarray,
        size_wh: tuple[int, int],
    ) -> Found:
        """`windows_xyxy` (V, 4): of the views, in a picture of `size_wh`."""
        windows = windows_xyxy[views]
        near = TOUCH * (windows[:, 2:] - windows[:, :2]).max(1, initial=0)
        inner = windows != np.array([0, 0, *size_wh])
        outwards = np.array([-1, -1, 1, 1])
        cut = inner & (outwards * (boxes_xyxy - windows) >= -near[:, None])
        return Found(boxes_xyxy, scores, labels, views, cut, near)

    def take(self, rows: np.ndarray) -> Found:
        return Found(**{name: column[rows] for name, column in vars(self).items()})


def merged(found: Found) -> Found:
    """What is in the picture, the best first."""
    left = found.take(_survivors(found, among_fragments=False))
    left = _stitched(left)
    left = left.take(_survivors(left, among_fragments=True))
    return left.take(np.argsort(-left.scores, kind="stable"))


def _survivors(found: Found, among_fragments: bool) -> np.ndarray:
    """Rows: what is taken away by nothing."""
    fragment = np.any(found.cut, axis=1)
    rank = np.empty(len(fragment), np.int64)
    rank[np.lexsort((-found.scores, fragment))] = np.arange(len(rank))
    first, second = (
        np.concatenate(rows) for rows in zip(*_taking(found, fragment, rank, among_fragments), strict=True)
    )
    alive = np.ones(len(rank), bool)
    for row in np.lexsort((rank[second], rank[first])).tolist():
        alive[second[row]] &= not alive[first[row]]
    return np.flatnonzero(alive)


def _taking(
    found: Found, fragment: np.ndarray, rank: np.ndarray, among_fragments: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows, rows): of which the first takes the second away, if nothing takes it away."""
    areas = (found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2]).prod(1)
    for one, other in _meeting(found, slack=0):
        ahead = rank[one] < rank[other]
        first, second = np.where(ahead, one, other), np.where(ahead, other, one)
        shared = _shared(found.boxes_xyxy[first], found.boxes_xyxy[second])
        same = shared >= SAME * (areas[first] + areas[second] - shared)
        covered = fragment[second] & (shared >= SAME * areas[second])
        strong = found.scores[first] >= WEAK * found.scores[second]
        takes = np.where(fragment[second], covered & strong, same)
        takes &= among_fragments | ~fragment[first]
        yield first[takes], second[takes]


def _shared(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(N,) square pixels."""
    sides = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
    return sides.clip(0).prod(1)


def _meeting(found: Found, slack: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows, rows) of one class and of different views that meet, or nearly so: by `slack` pixels."""
    yield np.zeros(0, np.int64), np.zeros(0, np.int64)
    for label in np.unique(found.labels):
        rows = np.flatnonzero(found.labels == label)
        rows = rows[np.argsort(found.boxes_xyxy[rows, 0], kind="stable")]
        lefts, rights = found.boxes_xyxy[rows, 0], found.boxes_xyxy[rows, 2]
        ends = np.searchsorted(lefts, rights + slack, side="right")
        for part in _parts(ends - np.arange(len(rows)) - 1):
            counts = ends[part] - part - 1
            one = np.repeat(part, counts)
            other = one + 1 + np.arange(len(one)) - np.repeat(counts.cumsum() - counts, counts)
            yield _near(found, rows[one], rows[other], slack)


def _near(found: Found, one: np.ndarray, other: np.ndarray, slack: float) -> tuple[np.ndarray, np.ndarray]:
    """Those pairs that meet vertically, too."""
    a, b = found.boxes_xyxy[one], found.boxes_xyxy[other]
    meet = (a[:, 1] <= b[:, 3] + slack) & (b[:, 1] <= a[:, 3] + slack) & (found.views[one] != found.views[other])
    return one[meet], other[meet]


def _parts(counts: np.ndarray) -> list[np.ndarray]:
    """Runs of numbers, so that the pairs of each take little memory."""
    numbers = np.arange(len(counts))
    return np.split(numbers, np.flatnonzero(np.diff(counts.cumsum() // _PAIRS_AT_ONCE)) + 1)


def _stitched(found: Found) -> Found:
    """With one box for the fragments of each object."""
    groups = _groups(found)
    alone = np.ones(len(found.scores), bool)
    for group in groups:
        alone[group] = False
    pieces = [found.boxes_xyxy[group] for group in groups]
    boxes = [np.concatenate([of[:, :2].min(0), of[:, 2:].max(0)]) for of in pieces]
    firsts = np.array([group[0] for group in groups], dtype=np.int64)  # the best of each
    whole = Found(
        np.array(boxes).reshape(-1, 4),
        found.scores[firsts],
        found.labels[firsts],
        -1 - np.arange(len(groups)),  # of a view of its own
        np.zeros((len(groups), 4), bool),
        np.zeros(len(groups)),
    )
    rest = found.take(np.flatnonzero(alone))
    return Found(**{name: np.concatenate([getattr(rest, name), column]) for name, column in vars(whole).items()})


def _groups(found: Found) -> list[list[int]]:
    """Fragments of one object each, two or more, the best first; of each view the best that fits."""
    partners: dict[int, list[int]] = defaultdict(list)
    for a, b in _belonging(found):
        partners[a].append(b)
        partners[b].append(a)
    scores, views, used, groups = found.scores, found.views, set[int](), list[list[int]]()
    for start in sorted(partners, key=lambda row: -scores[row]):
        if start in used:
            continue
        group = [start]
        for member in group:  # it grows meanwhile
            for row in sorted(partners[member], key=lambda row: -scores[row]):
                known = row in used or views[row] in views[group]
                if not known and scores[row] >= WEAK * scores[start]:
                    group.append(row)
        if len(group) > 1:
            used.update(group)
            groups.append(group)
    return groups


def _belonging(found: Found) -> Iterator[tuple[int, int]]:
    """Pairs of fragments of which one goes on where the other ends, or lies in the other."""
    pieces = np.flatnonzero(np.any(found.cut, axis=1))
    part = found.take(pieces)
    areas = (part.boxes_xyxy[:, 2:] - part.boxes_xyxy[:, :2]).prod(1)
    for one, other in _meeting(part, slack=2 * float(part.near.max(initial=0))):
        smaller = np.minimum(areas[one], areas[other])
        met = _shared(part.boxes_xyxy[one], part.boxes_xyxy[other]) >= SAME * smaller
        for axis in (0, 1):
            met |= _goes_on(part, one, other, axis) | _goes_on(part, other, one, axis)
        yield from zip(pieces[one[met]].tolist(), pieces[other[met]].tolist(), strict=True)


def _goes_on(found: Found, one: np.ndarray, other: np.ndarray, axis: int) -> np.ndarray:
    """(N,) bool: whether `other` goes on to the right of `one` (axis 0), or below it (axis 1)."""
    a, b, high, across = found.boxes_xyxy[one], found.boxes_xyxy[other], axis + 2, 1 - axis
    shared = np.minimum(a[:, across + 2], b[:, across + 2]) - np.maximum(a[:, across], b[:, across])
    both = np.maximum(a[:, across + 2], b[:, across + 2]) - np.minimum(a[:, across], b[:, across])
    ends = found.cut[one, high] & found.cut[other, axis]
    further = (a[:, axis] < b[:, axis]) & (a[:, high] < b[:, high])
    return ends & further & (b[:, axis] - a[:, high] <= found.near[one] + found.near[other]) & (shared >= SAME * both)
