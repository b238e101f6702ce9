"""Means, intervals and paired differences of a few numbers. Imports nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

T_QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""0.975 quantile of Student's t with 1 … 10 degrees of freedom (NIST/SEMATECH e-Handbook, table 1.3.6.7.2)."""

T_QUANTILES_80 = (1.376, 1.061, 0.978, 0.941, 0.920, 0.906, 0.896, 0.889, 0.883, 0.879)
"""0.8 quantile, likewise."""

NORMAL_QUANTILE = 1.959964
NORMAL_QUANTILE_80 = 0.841621
MOST_SEEDS = 200
"""A difference that needs more seeds than this is none that anyone will find."""


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
    """Half the width of the 95 % t-interval of the mean; None for fewer than two values."""
    spread = deviation(values)
    if spread is None:
        return None
    return t_quantile(len(values) - 1) * spread / math.sqrt(len(values))


def t_quantile(freedom: int) -> float:
    """0.975 quantile of Student's t, exact to 1e-3."""
    return T_QUANTILES[freedom - 1] if freedom <= len(T_QUANTILES) else _expanded(NORMAL_QUANTILE, freedom)


def _t_quantile_80(freedom: int) -> float:
    return T_QUANTILES_80[freedom - 1] if freedom <= len(T_QUANTILES_80) else _expanded(NORMAL_QUANTILE_80, freedom)


def _expanded(z: float, freedom: int) -> float:
    """Fisher's expansion around the normal quantile `z` (Abramowitz and Stegun, 26.7.5)."""
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


@dataclass(frozen=True)
class Difference:
    """Of two arms, seed by seed: what both share (the order of images, the subset drawn) does not count as noise."""

    pairs: int
    """Seeds that both have."""
    mean: float
    half: float | None
    """Half the width of the 95 % t-interval of the mean; None for one pair."""
    deviation: float | None
    """Standard deviation of the differences."""

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `not distinguishable`: whether the interval leaves out 0."""
        if self.half is None or abs(self.mean) <= self.half:
            return "not distinguishable"
        return "better" if self.mean > 0 else "worse"

    @property
    def more_seeds(self) -> int | None:
        """How many more would tell the two apart, with a probability of 80 %, if mean and deviation are as measured.

        None where one pair says nothing of the deviation, where the verdict is known, and above `MOST_SEEDS`.
        """
        if self.deviation is None or self.verdict != "not distinguishable":
            return None
        needed = seeds_needed(abs(self.mean), self.deviation)
        return None if needed is None else max(1, needed - self.pairs)


def paired(values: Mapping[int, float], baseline: Mapping[int, float]) -> Difference | None:
    """`values` minus `baseline`, both by seed; None where they share no seed."""
    differences = [value - baseline[seed] for seed, value in values.items() if seed in baseline]
    if not differences:
        return None
    return Difference(len(differences), mean(differences), interval_95(differences), deviation(differences))


@lru_cache(maxsize=4096)
def seeds_needed(difference: float, spread: float) -> int | None:
    """The fewest pairs whose paired t-test (5 %, two-sided) finds `difference` with a probability of 80 %.

    With t quantiles in place of the noncentral t distribution: Guenther, The American Statistician 35 (1981).
    """
    for pairs in range(2, MOST_SEEDS + 1):
        reach = t_quantile(pairs - 1) + _t_quantile_80(pairs - 1)
        if difference > 0 and reach * spread / math.sqrt(pairs) <= difference:
            return pairs
    return None
