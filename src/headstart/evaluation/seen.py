"""What batches showed of each image, brought into the order in which it lies on the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.data.truth import KnownTruth
from headstart.records.detections import SplitDetections
from headstart.records.truth import Truth

DETECTION, OBJECT = 7, 9
"""Numbers of a row: box, score, label, present; and box, label, crowd, difficult, area, present. In `Seen` without the
last."""


@dataclass(frozen=True)
class Seen:
    """Of one image, in its original pixels."""

    size_hw: tuple[int, int]
    found: np.ndarray
    """(N, DETECTION - 1) float32: as exact as it is kept."""
    truth: np.ndarray
    """(T, OBJECT - 1) float64."""


def detections_seen(images: Mapping[int, Seen], known: KnownTruth, class_names: Sequence[str]) -> SplitDetections:
    """Picture by picture, in the rows and the classes of the truth."""
    rows = ((int(known.rows[image_id]), seen.found) for image_id, seen in images.items())
    in_order = sorted(rows, key=lambda one: one[0])
    measured = np.array([row for row, _ in in_order], dtype=np.int32)
    columns = _joined([found for _, found in in_order], DETECTION - 1, np.float32)
    places = np.array([known.truth.class_names.index(name) for name in class_names], dtype=np.int32)
    return SplitDetections(
        images=np.repeat(measured, [len(found) for _, found in in_order]),
        boxes_xyxy=columns[:, :4],
        scores=columns[:, 4],
        labels=places[columns[:, 5].astype(np.int64)],
        measured=measured,
    )


def truth_seen(images: Mapping[int, Seen], class_names: Sequence[str]) -> KnownTruth:
    """As the batches carried it, in the order of the images' ids: where no split with names lies behind them."""
    names = sorted(class_names)
    places = np.array([names.index(name) for name in class_names], dtype=np.int32)
    columns = _joined([seen.truth for seen in images.values()], OBJECT - 1, np.float64)
    truth = Truth(
        fingerprint="",
        class_names=tuple(names),
        image_names=tuple(map(str, images)),
        sizes_hw=np.array([seen.size_hw for seen in images.values()], dtype=np.int32).reshape(-1, 2),
        images=np.repeat(np.arange(len(images), dtype=np.int32), [len(seen.truth) for seen in images.values()]),
        boxes_xyxy=columns[:, :4],
        labels=places[columns[:, 4].astype(np.int64)],
        crowd=columns[:, 5] > 0,
        difficult=columns[:, 6] > 0,
        area=columns[:, 7],
    )
    rows = np.full(max(images, default=-1) + 1, -1)
    rows[list(images)] = np.arange(len(images))
    return KnownTruth(truth, rows)


def _joined(parts: Sequence[np.ndarray], columns: int, kind: type) -> np.ndarray:
    return np.concatenate([np.zeros((0, columns), kind), *parts])
