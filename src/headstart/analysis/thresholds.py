"""From which score on to believe a detection: the threshold of the best F1, by class. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from headstart.analysis.scored import Scored


@dataclass(frozen=True)
class Threshold:
    """Of one class, at an IoU of 0.5."""

    score: float
    """Detections of at least this score are kept."""
    precision: float
    recall: float
    f1: float


def best_thresholds(scored: Scored) -> dict[str, Threshold | None]:
    """By class; None where nothing is to be found, or nothing is found rightly. Of equal F1 the highest score."""
    return {name: _best(scored, label) for label, name in enumerate(scored.class_names)}


def kept(scored: Scored, thresholds: Mapping[str, Threshold | None]) -> np.ndarray:
    """(D,) bool: detections of at least their class's threshold; of a class without one, none."""
    return above(scored, {name: found.score for name, found in thresholds.items() if found is not None})


def above(scored: Scored, least: Mapping[str, float]) -> np.ndarray:
    """As `kept`, of scores by class; a threshold may be rounded to five digits."""
    scores = np.array([least.get(name, np.inf) for name in scored.class_names])
    return scored.found.scores >= scores[scored.found.labels] * (1 - 1e-5)


def _best(scored: Scored, label: int) -> Threshold | None:
    objects = int((scored.wanted & (scored.truth.labels == label)).sum())
    chosen = (scored.found.labels == label) & ~scored.excused
    order = np.argsort(-scored.found.scores[chosen], kind="stable")
    scores, right = scored.found.scores[chosen][order], scored.right[chosen][order].cumsum()
    if not objects or not len(right) or not right[-1]:
        return None
    last = np.append(scores[1:] != scores[:-1], True)  # equal scores are kept or dropped together
    f1 = np.where(last, 2 * right / (np.arange(1, len(right) + 1) + objects), 0.0)
    best = int(f1.argmax())
    return Threshold(
        float(scores[best]), float(right[best] / (best + 1)), float(right[best] / objects), float(f1[best])
    )
