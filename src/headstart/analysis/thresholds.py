"""From which score on to believe a detection: the threshold of the best F1, by class. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from headstart.analysis.scored import Scored

DECIMALS = 4
"""Of `least_scores`."""


@dataclass(frozen=True)
class Threshold:
    """Of one class, at an IoU of 0.5."""

    score: float
    """Detections of at least this score are kept."""
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class _Best:
    """Where F1 is best: of a class's detections that count, by falling score."""

    scores: np.ndarray
    """(n,)"""
    right: np.ndarray
    """(n,) how many of those so far are right."""
    f1: np.ndarray
    """(n,) of those so far, 0 within equal scores: these are kept or dropped together."""
    last: int
    """The last one that is kept."""
    objects: int


def best_thresholds(scored: Scored) -> dict[str, Threshold | None]:
    """By class; None where nothing is to be found, or nothing is found rightly. Of equal F1 the highest score."""
    return {name: _threshold(best) for name, best in _by_class(scored)}


def least_scores(scored: Scored) -> dict[str, float]:
    """By class, of those that `best_thresholds` has: half-way from the last detection kept to the next one below it,
    for other pictures will have neither score."""
    return {name: _half_way(best) for name, best in _by_class(scored) if best is not None}


def best_kept(scored: Scored) -> np.ndarray:
    """(D,) bool: what is kept by the best thresholds."""
    return kept(scored, best_thresholds(scored))


def kept(scored: Scored, thresholds: Mapping[str, Threshold | None]) -> np.ndarray:
    """(D,) bool: detections of at least their class's threshold; of a class without one, none."""
    return above(scored, {name: found.score for name, found in thresholds.items() if found is not None})


def above(scored: Scored, least: Mapping[str, float]) -> np.ndarray:
    """As `kept`, of scores by class; a threshold may be rounded to five digits."""
    scores = np.array([least.get(name, np.inf) for name in scored.class_names])
    return scored.found.scores >= scores[scored.found.labels] * (1 - 1e-5)


def _by_class(scored: Scored) -> Iterator[tuple[str, _Best | None]]:
    for label, name in enumerate(scored.class_names):
        yield name, _best(scored, label)


def _best(scored: Scored, label: int) -> _Best | None:
    objects = int((scored.wanted & (scored.truth.labels == label)).sum())
    counted = (scored.found.labels == label) & ~scored.excused
    order = np.argsort(-scored.found.scores[counted], kind="stable")
    scores, right = scored.found.scores[counted][order], scored.right[counted][order].cumsum()
    if not objects or not len(right) or not right[-1]:
        return None
    ends = np.append(scores[1:] != scores[:-1], True)
    f1 = np.where(ends, 2 * right / (np.arange(1, len(right) + 1) + objects), 0.0)
    return _Best(scores, right, f1, int(f1.argmax()), objects)


def _threshold(best: _Best | None) -> Threshold | None:
    if best is None:
        return None
    last, right = best.last, best.right[best.last]
    return Threshold(
        float(best.scores[last]), float(right / (last + 1)), float(right / best.objects), float(best.f1[last])
    )


def _half_way(best: _Best) -> float:
    here, below = (float(best.scores[place]) for place in (best.last, min(best.last + 1, len(best.scores) - 1)))
    middle = (here + below) / 2
    rounded = round(middle, DECIMALS)
    return rounded if below < rounded <= here else middle
