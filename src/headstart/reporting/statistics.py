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


@dataclass(frozen=True)
class Part:
    """A variance of a mean, estimated with so many degrees of freedom."""

    variance: float
    freedom: float


def combined(seeds: Part, pictures: Part | None) -> Part:
    """Their sum, with Satterthwaite's degrees of freedom (Biometrics Bulletin 2, 1946); of seeds alone where that over
    pictures is not known."""
    if pictures is None or pictures.variance == 0:
        return seeds
    total = seeds.variance + pictures.variance
    squares = [(part.variance / total) ** 2 / part.freedom for part in (seeds, pictures)]
    return Part(total, _two_digits(1 / math.fsum(squares)))


def _two_digits(number: float) -> float:
    """Rounded down, so that quantiles, which take time, are few."""
    unit = 10.0 ** (math.floor(math.log10(number)) - 1)
    return math.floor(number / unit + 1e-9) * unit


def interval_95(values: Sequence[float], pictures: Part | None = None) -> float | None:
    """Half the width of the 95 % t-interval of the mean, of this mean alone; None for fewer than two values.

    `pictures`: what the mean varies by over them; None: not known, and the interval is over seeds alone.
    """
    spread = deviation(values)
    if spread is None:
        return None
    whole = combined(Part(spread**2 / len(values), len(values) - 1), pictures)
    return t_quantile(0.05, whole.freedom) * math.sqrt(whole.variance)


def share_of_pictures(spread: float | None, seeds: int, pictures: Part | None) -> float | None:
    """Of the variance of a mean; None where a part of it is not known, or there is none at all."""
    if pictures is None or spread is None:
        return None
    whole = pictures.variance + spread**2 / seeds
    return pictures.variance / whole if whole > 0 else None


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
    pictures: Part | None
    """What the mean varies by over pictures; None: not known, and all that is said of it is of these pictures."""

    @property
    def share_of_pictures(self) -> float | None:
        """Of the variance of the mean."""
        return share_of_pictures(self.deviation, self.pairs, self.pictures)


def paired(
    values: Mapping[int, float], baseline: Mapping[int, float], pictures: Part | None = None
) -> Difference | None:
    """`values` minus `baseline`, both by seed; None where they share no seed. `pictures`: as in `interval_95`."""
    differences = [value - baseline[seed] for seed, value in values.items() if seed in baseline]
    if not differences:
        return None
    half = interval_95(differences, pictures)
    return Difference(len(differences), mean(differences), half, deviation(differences), pictures)
