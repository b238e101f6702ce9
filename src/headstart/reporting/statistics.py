"""Means, intervals and paired differences of a few numbers, each by itself; verdicts are a family's (family.py)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headstart.reporting.distributions import t_quantile


def mean(values: Sequence[float]) -> float:
    """NaN for none."""
    return math.fsum(values) / len(values) if values else math.nan


def deviation(values: Sequence[float]) -> float | None:
    """Standard deviation of the population the values were drawn from; None for fewer than two."""
    if len(values) < 2:
        return None
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def interval_95(values: Sequence[float]) -> float | None:
    """Half the width of the 95 % t-interval of the mean, of this mean alone; None for fewer than two values."""
    spread = deviation(values)
    if spread is None:
        return None
    return t_quantile(0.05, len(values) - 1) * spread / math.sqrt(len(values))


@dataclass(frozen=True)
class Difference:
    """Of two arms, seed by seed: what both share (the order of images, the subset drawn) does not count as noise."""

    pairs: int
    """Seeds that both have."""
    mean: float
    half: float | None
    """Half the width of the 95 % t-interval of the mean, of this one alone; None for one pair."""
    deviation: float | None
    """Standard deviation of the differences."""


def paired(values: Mapping[int, float], baseline: Mapping[int, float]) -> Difference | None:
    """`values` minus `baseline`, both by seed; None where they share no seed."""
    differences = [value - baseline[seed] for seed, value in values.items() if seed in baseline]
    if not differences:
        return None
    return Difference(len(differences), mean(differences), interval_95(differences), deviation(differences))
