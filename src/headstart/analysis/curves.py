"""Precision against recall, and scores against the share that is right. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.analysis.scored import IOU, Scored

RECALLS = tuple(round(0.02 * i, 2) for i in range(51))
"""At which precision is told: every second of COCO's 101."""
IOUS = (0.5, 0.75)


def precision(scored: Scored, iou: float) -> np.ndarray:
    """(K, 51): COCO's, at each of `RECALLS` the greatest precision at that recall or a higher one; NaN for a class
    without an object."""
    every = np.asarray(scored.evaluation.eval["precision"])  # (IoU, recall, class, area, detections)
    found = every[round((iou - 0.5) / 0.05), ::2, :, 0, 0].T
    return np.where(found < 0, np.nan, found)


def mean_precision(by_class: np.ndarray) -> np.ndarray:
    """(51,): over the classes that have an object."""
    return by_class[~np.isnan(by_class).all(axis=1)].mean(axis=0)


@dataclass(frozen=True)
class Bin:
    """Detections with scores between two tenths."""

    count: int
    score: float
    """Their mean."""
    right: float
    """Share of them that found an object."""


@dataclass(frozen=True)
class Calibration:
    """How far scores are from the share of detections that are right (Guo et al., ICML 2017; Naeini et al. 2015)."""

    error: float
    """Expected calibration error: the mean distance, weighed by the detections of each bin."""
    bins: Sequence[Bin]
    """Those with a detection, lowest scores first."""


def calibration(scored: Scored) -> Calibration:
    found = scored.evaluation.calibration(n_bins=10, iou_threshold=IOU)
    bins = [Bin(b["count"], b["avg_confidence"], b["avg_accuracy"]) for b in found["bins"] if b["count"]]
    return Calibration(found["ece"], bins)
