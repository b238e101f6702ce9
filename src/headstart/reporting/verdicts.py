"""A difference and what is sure of it, and how many seeds would make it so."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from headstart.reporting.distributions import range_quantile, t_quantile
from headstart.reporting.statistics import Difference, Part, combined

LEVEL = 0.05
MOST_SEEDS = 200
"""A difference that needs more seeds than this is none that anyone will find."""
MOST_PICTURES = 100_000
"""As few will ever be labelled for a test."""
MANY_FREEDOM = 120
"""More degrees of freedom than this change no plan."""


@dataclass(frozen=True)
class Tukey:
    """All pairs of so many arms, all with the same seeds, at once: by the studentized range (Tukey, 1953)."""

    arms: int

    def freedom(self, seeds: int) -> int:
        return (self.arms - 1) * (seeds - 1)

    def critical(self, freedom: float) -> float:
        """In standard errors of a difference."""
        return range_quantile(LEVEL, self.arms, freedom) / math.sqrt(2)


@dataclass(frozen=True)
class Holm:
    """So many pairs, each with a deviation of its own: by paired t-tests (Holm, 1979)."""

    pairs: int

    def freedom(self, seeds: int) -> int:
        return seeds - 1

    def critical(self, freedom: float) -> float:
        """Of the smallest p-value, and of simultaneous intervals (Bonferroni's)."""
        return t_quantile(LEVEL / self.pairs, freedom)


Rule = Tukey | Holm


@dataclass(frozen=True)
class Judged(Difference):
    """A difference with what the family says of it."""

    p: float | None
    """Adjusted for all statements of the family; None where one pair says nothing."""
    wide: float | None
    """Half the width of its interval, where those of all pairs hold at once in 95 % of studies."""
    spread: float | None
    """Standard deviation of one seed's difference, as the family takes it."""
    rule: Rule | None
    count: int | None = None
    """Pictures that it was measured on, where they are part of what is said."""

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `not distinguishable`."""
        if self.p is None or self.p >= LEVEL:
            return "not distinguishable"
        return "better" if self.mean > 0 else "worse"

    @property
    def more_seeds(self) -> int | None:
        """How many more would tell the two apart, with a probability of 80 %, if mean and spread are as measured.

        None where one pair says nothing of the spread, where the verdict is known, and above `MOST_SEEDS`.
        """
        return None if self.p is None or self.p < LEVEL else self._more(abs(self.mean))

    @property
    def more_pictures(self) -> int | None:
        """How many more pictures would, with the seeds that there are; None as well where seeds alone rule it out."""
        return None if self.p is None or self.p < LEVEL else self._more_pictures(abs(self.mean))

    def more_to_equal(self, margin: float) -> int | None:
        """How many more would show that it falls behind by no more than `margin`, likewise; None also where it does."""
        return self._more(margin + self.mean)

    def pictures_to_equal(self, margin: float) -> int | None:
        """How many more pictures would, likewise."""
        return self._more_pictures(margin + self.mean)

    @property
    def loss_at_most(self) -> float | None:
        """The upper end of the simultaneous interval of what it falls behind; never below 0."""
        return None if self.wide is None else max(0.0, self.wide - self.mean)

    def _more(self, room: float) -> int | None:
        if self.spread is None or self.rule is None:
            return None
        needed = seeds_needed(room, self.spread, self.rule, self.pictures)
        return None if needed is None else max(1, needed - self.pairs)

    def _more_pictures(self, room: float) -> int | None:
        if self.spread is None or self.rule is None or self.pictures is None or self.count is None:
            return None
        needed = pictures_needed(room, self.spread, self.pairs, self.rule, self.pictures, self.count)
        return None if needed is None else max(1, needed - self.count)


@lru_cache(maxsize=4096)
def seeds_needed(room: float, spread: float, rule: Rule, pictures: Part | None = None) -> int | None:
    """The fewest seeds, on the same pictures, with which a difference `room` away from what it is to exclude does so in
    80 % of studies.

    With t quantiles in place of the noncentral t distribution: Guenther, The American Statistician 35 (1981).
    """
    return _fewest(1, MOST_SEEDS, lambda seeds: _suffice(seeds, room, spread, rule, pictures))


@lru_cache(maxsize=4096)
def pictures_needed(room: float, spread: float, seeds: int, rule: Rule, pictures: Part, count: int) -> int | None:
    """The fewest pictures, with the same seeds, likewise: `pictures` is what `count` of them show."""

    def suffice(number: int) -> bool:
        share = count / number
        return _suffice(seeds, room, spread, rule, Part(pictures.variance * share, pictures.freedom / share))

    return _fewest(count, MOST_PICTURES, suffice)


def _fewest(low: int, high: int, suffice: Callable[[int], bool]) -> int | None:
    """Above `low`; None where `high` are not enough."""
    if high <= low or not suffice(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffice(middle) else (middle, high)
    return high


def _suffice(seeds: int, room: float, spread: float, rule: Rule, pictures: Part | None) -> bool:
    if room <= 0:
        return False
    whole = combined(Part(spread**2 / seeds, rule.freedom(seeds)), pictures)
    freedom = min(MANY_FREEDOM, whole.freedom)
    return (rule.critical(freedom) + t_quantile(0.4, freedom)) * math.sqrt(whole.variance) <= room
