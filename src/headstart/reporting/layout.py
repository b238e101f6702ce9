"""Arms by seeds, every arm with the same seeds: a two-way layout in which the seeds are blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from headstart.reporting.distributions import beta_tail
from headstart.reporting.statistics import mean

UNLIKE = 0.1
"""Below this probability the arms' variances are not taken to be one. More than the usual 0.05, for with few seeds the
check sees little."""


@dataclass(frozen=True)
class Layout:
    """What is left of each number without its arm's and its seed's mean."""

    arms: int
    seeds: int
    pooled: float
    """Variance of what is left, over all arms."""
    scatter: Mapping[str, float]
    """The same of each arm by itself."""

    @property
    def freedom(self) -> int:
        return (self.arms - 1) * (self.seeds - 1)

    @property
    def chance_of_scatter(self) -> float:
        """That with one variance for all the most scattered arm would have as great a share of the whole, at most.

        Cochran's test: that share is Beta((n-1)/2, (k-2)(n-1)/2) for each of k arms with n seeds, for an arm's
        residuals are n-1 of (k-1)(n-1) independent directions; times k.
        """
        if self.pooled == 0:
            return 1.0
        share = max(self.scatter.values()) / (self.pooled * (self.arms - 1))
        free = self.seeds - 1
        return min(1.0, self.arms * beta_tail(share, free / 2, (self.arms - 2) * free / 2))

    @property
    def alike(self) -> bool:
        """Whether one variance may stand for all. Two seeds cannot tell: they show each arm's by a single number."""
        return self.seeds > 2 and self.chance_of_scatter > UNLIKE

    def variance(self, one: str, other: str) -> float:
        """What a difference of the two is measured by: the pooled variance, or what is greater.

        An arm that scatters more than the rest is not judged by the calm of the others; one that seems to scatter
        less gets no credit for it, which few seeds would give by chance. Where the variances are not alike, the
        greatest stands for all. What this does not see is noise that whole groups of arms share and others do not, such
        as that of a source of its own for each seed.
        """
        return max(self.pooled, *((self.scatter[one], self.scatter[other]) if self.alike else self.scatter.values()))


def make_layout(values: Mapping[str, Mapping[int, float]]) -> Layout | None:
    """Of arm -> seed -> number. None where an arm lacks a seed, or with fewer than three arms or two seeds."""
    if len(values) < 3 or len({frozenset(by_seed) for by_seed in values.values()}) > 1:
        return None
    seeds = list(next(iter(values.values())))
    if len(seeds) < 2:
        return None
    arms = len(values)
    level = {seed: mean([by_seed[seed] for by_seed in values.values()]) for seed in seeds}
    left = {name: _sum_of_squares([by_seed[seed] - level[seed] for seed in seeds]) for name, by_seed in values.items()}
    free = len(seeds) - 1
    pooled = math.fsum(left.values()) / ((arms - 1) * free)
    scatter = {name: squares * arms / ((arms - 1) * free) for name, squares in left.items()}
    return Layout(arms, len(seeds), pooled, scatter)


def _sum_of_squares(values: list[float]) -> float:
    centre = mean(values)
    return math.fsum((value - centre) ** 2 for value in values)
