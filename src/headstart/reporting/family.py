"""Which differences are sure. All verdicts of a target, metric and split are one family: where nothing differs, a study
has a wrong one in it with a probability of 5 % at most, however many arms it has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from headstart.reporting.distributions import range_tail, t_tail
from headstart.reporting.layout import Layout, make_layout
from headstart.reporting.pictures import NO_PICTURES, Pictures
from headstart.reporting.statistics import Difference, Part, combined, paired
from headstart.reporting.verdicts import Holm, Judged, Rule, Tukey

FEW_SEEDS = 5
"""Up to so many, a deviation estimated from one pair of arms says nothing that holds among many pairs."""


@dataclass(frozen=True)
class Family:
    """Every pair of arms of a target, of one metric and split; which of them get said is decided by the numbers."""

    values: Mapping[str, Mapping[int, float]]
    """Arm -> seed -> metric."""
    pictures: Pictures = NO_PICTURES
    """Whose variance is part of every difference, where it is known."""

    @cached_property
    def layout(self) -> Layout | None:
        """Of the arms with two seeds or more: of others nothing can be said. None where it is not used."""
        found = make_layout({name: by_seed for name, by_seed in self.values.items() if len(by_seed) > 1})
        return found if found is not None and (found.alike or found.seeds <= FEW_SEEDS) else None

    @cached_property
    def rule(self) -> Rule | None:
        """None where no two arms have two seeds in common."""
        if self.layout is not None:
            return Tukey(self.layout.arms)
        return Holm(len(self._adjusted)) if self._adjusted else None

    def judge(self, one: str, other: str) -> Judged | None:
        """`one` minus `other`; None where they share no seed."""
        if (one, other) not in self._known:
            self._known[one, other] = self._judge(one, other)
        return self._known[one, other]

    @cached_property
    def _known(self) -> dict[tuple[str, str], Judged | None]:
        return {}

    def _judge(self, one: str, other: str) -> Judged | None:
        found = self._paired(one, other)
        if found is None:
            return None
        known = (found.pairs, found.mean, found.half, found.deviation, found.pictures)
        rule, spread = self.rule, self._spread(found, one, other)
        if rule is None or spread is None:
            return Judged(*known, None, None, None, None)
        whole = combined(Part(spread**2 / found.pairs, rule.freedom(found.pairs)), found.pictures)
        wide = rule.critical(whole.freedom) * math.sqrt(whole.variance)
        p = self._adjusted[_pair(one, other)] if isinstance(rule, Holm) else _tukey(rule, found, whole)
        return Judged(*known, p, wide, spread, rule, self.pictures.count if found.pictures else None)

    def _paired(self, one: str, other: str) -> Difference | None:
        return paired(self.values[one], self.values[other], self.pictures.part(one, other))

    def _spread(self, found: Difference, one: str, other: str) -> float | None:
        if self.layout is None or found.deviation is None:
            return found.deviation
        return math.sqrt(2 * self.layout.variance(one, other))

    @cached_property
    def _adjusted(self) -> dict[tuple[str, str], float]:
        """Holm's p-value of every pair that shares two seeds or more."""
        found = {}
        for one, other in combinations(self.values, 2):
            difference = self._paired(one, other)
            if difference is not None and difference.deviation is not None:
                seeds = Part(difference.deviation**2 / difference.pairs, difference.pairs - 1)
                whole = combined(seeds, difference.pictures)
                t = _statistic(difference.mean, math.sqrt(whole.variance))
                found[_pair(one, other)] = t_tail(t, whole.freedom) if math.isfinite(t) else 0.0
        return holm(found)

    @property
    def method(self) -> str:
        """In words; empty where nothing is judged."""
        rule = self.rule
        if isinstance(rule, Tukey):
            text = f"Tukey's studentized range over {rule.arms} arms with the same seeds, which count as blocks"
            return text + ("" if self.layout is None or self.layout.alike else f"; {self._why_greatest()}")
        if rule is None or rule.pairs == 1:
            return "" if rule is None else "a paired t-test, for there is one pair of arms"
        return f"Holm over {rule.pairs} pairs of arms by paired t-tests, for {self._why_holm()}"

    def _why_greatest(self) -> str:
        unknown = "two seeds do not show whether their variances are alike"
        known = "their variances are not alike"
        few = self.layout is not None and self.layout.seeds == 2
        return f"the greatest variance among them counts for all, for {unknown if few else known}"

    def _why_holm(self) -> str:
        several = [frozenset(by_seed) for by_seed in self.values.values() if len(by_seed) > 1]
        return "not every arm has the same seeds" if len(set(several)) > 1 else "their variances are not alike"


def holm(found: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """p-values, adjusted for each other."""
    adjusted, least = {}, 0.0
    for rank, (pair, p) in enumerate(sorted(found.items(), key=lambda item: item[1])):
        least = adjusted[pair] = max(least, min(1.0, (len(found) - rank) * p))
    return adjusted


def _tukey(rule: Tukey, found: Difference, whole: Part) -> float:
    t = _statistic(found.mean, math.sqrt(whole.variance))
    return range_tail(t * math.sqrt(2), rule.arms, whole.freedom) if math.isfinite(t) else 0.0


def _pair(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)


def _statistic(difference: float, error: float) -> float:
    """In standard errors; infinite where there is a difference and no error. What rounding leaves is no difference."""
    if abs(difference) < 1e-12:
        return 0.0
    return abs(difference) / error if error > 0 else math.inf
