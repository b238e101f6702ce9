"""From which score on a class's detections are worth showing: where F1 on the validation pictures is best."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headstart.records.detections import SplitDetections
from headstart.records.truth import Truth

IOU = 0.5
"""At which a detection has found an object."""
DECIMALS = 4


def best_thresholds(found: SplitDetections, truth: Truth) -> dict[str, float]:
    """By class: half-way between the last detection that makes F1 best and the next one below it.

    Detection after detection, by falling score, takes the free object of its class and picture that it overlaps most,
    by IoU 0.5 or more, as in VOC (Everingham et al., IJCV 2010); one that only lies on what is to be ignored does not
    count. A class without an object, or without one that was found, has no threshold.
    """
    measured = np.isin(truth.images, found.measured)
    chosen: dict[str, float] = {}
    for label, name in enumerate(truth.class_names):
        of_class, objects = found.labels == label, measured & (truth.labels == label)
        hits = _hits(found, np.flatnonzero(of_class), truth, np.flatnonzero(objects))
        counted = ~np.isnan(hits)
        scores, number = found.scores[of_class][counted], int((objects & ~(truth.crowd | truth.difficult)).sum())
        if number and hits[counted].any():
            chosen[name] = _best(scores.astype(np.float64), hits[counted], number)
    return chosen


def _best(scores: np.ndarray, hits: np.ndarray, objects: int) -> float:
    order = np.argsort(-scores, kind="stable")
    scores, found = scores[order], np.cumsum(hits[order])
    f1 = 2 * found / (np.arange(1, len(scores) + 1) + objects)
    below = np.append(scores[1:], scores[-1])
    ends = scores != below  # of detections of one score all are shown, or none
    ends[-1] = True
    last = int(np.where(ends, f1, -1).argmax())
    middle = (scores[last] + below[last]) / 2
    rounded = round(float(middle), DECIMALS)
    return rounded if below[last] < rounded <= scores[last] else float(middle)


def _hits(found: SplitDetections, rows: np.ndarray, truth: Truth, objects: np.ndarray) -> np.ndarray:
    """(n,) of the detections in `rows`: 1 found an object, 0 did not, NaN lies on what is ignored."""
    hits = np.zeros(len(rows))
    of_image = dict(_by_image(truth.images[objects], objects))
    for image, places in _by_image(found.images[rows], np.arange(len(rows))):
        here = of_image.get(image)
        if here is not None:
            order = places[np.argsort(-found.scores[rows[places]], kind="stable")]
            ignored = truth.crowd[here] | truth.difficult[here]
            overlaps = _overlaps(found.boxes_xyxy[rows[order]], truth.boxes_xyxy[here], truth.crowd[here])
            hits[order] = _taken(overlaps, ignored)
    return hits


def _by_image(images: np.ndarray, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(picture, its rows); `images`: of each of the rows, ascending."""
    numbers, starts = np.unique(images, return_index=True)
    yield from zip(numbers.tolist(), np.split(rows, starts[1:]), strict=True) if len(rows) else ()


def _taken(overlaps: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Of the (detections, objects) IoUs, best detection first: as `_hits`."""
    free, hits = ~ignored, np.zeros(len(overlaps))
    for row, overlap in enumerate(overlaps):
        best = int(np.where(free, overlap, 0).argmax())
        if free[best] and overlap[best] >= IOU:
            free[best], hits[row] = False, 1
        elif (overlap[ignored] >= IOU).any():
            hits[row] = np.nan
    return hits


def _overlaps(found_xyxy: np.ndarray, truth_xyxy: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """(n, m) IoU; with a crowd the share of the detection that lies in it, as in COCO."""
    found, truth = found_xyxy.astype(np.float64)[:, None], truth_xyxy[None]
    sides = np.minimum(found[..., 2:], truth[..., 2:]) - np.maximum(found[..., :2], truth[..., :2])
    shared = sides.clip(min=0).prod(-1)
    own, other = ((boxes[..., 2:] - boxes[..., :2]).prod(-1) for boxes in (found, truth))
    return shared / np.maximum(np.where(crowd, own, own + other - shared), 1e-12)
