"""How much a number owes to the pictures it was measured on: the same resamples of them for all arms and seeds of a
target (paired bootstrap; Efron 1979). Imports no torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from headstart.errors import UserError
from headstart.records.record import RunRecord
from headstart.reporting.arms import Arm
from headstart.reporting.comparability import names_of
from headstart.reporting.statistics import Part

if TYPE_CHECKING:  # records alone are compared without it
    import numpy as np

MOST, FEWEST = 1000, 200
"""Resamples. A variance of 200 is known to 10 % of itself."""
BUDGET = 2_000_000_000
"""Steps of all resamples of a target, about: some ten seconds."""


class Measured(Protocol):
    """What a run found on each picture."""

    @property
    def pictures(self) -> int: ...

    @property
    def cost(self) -> int:
        """Steps of one resample, about."""
        ...

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """(B,) its metric, from (B, I): how often each picture is in each resample."""
        ...


Look = Callable[[Path, RunRecord, str, str], Measured | None]
"""Run, split and metric -> what it found; None where the run does not say. Raises `UserError` for a damaged file."""


def nothing(path: Path, record: RunRecord, split: str, metric: str) -> None:
    """A `Look` of one who has but records."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Of a target: its arms on the same resamples of its pictures."""

    count: int = 0
    """Pictures; 0 where no arm has detections."""
    resamples: int = 0
    found: Mapping[str, Mapping[int, np.ndarray]] = field(default_factory=dict)
    """Arm -> seed -> (B,) metric. An arm is left out where one of its runs does not say."""
    lacking: tuple[str, ...] = ()
    """Names of the runs that do not."""
    damaged: tuple[str, ...] = ()
    """Of their files, what is wrong with those that cannot be read."""

    @property
    def freedom(self) -> float:
        """Of a variance over them: that of their number and of that of the resamples."""
        return 1 / (1 / (self.count - 1) + 1 / (self.resamples - 1))

    def part(self, one: str, other: str | None = None) -> Part | None:
        """What the mean over seeds varies by, of arm `one`, or of what it is above `other` over the seeds that both
        have. None where that is not known."""
        mine, beside = self.found.get(one), self.found.get(other) if other is not None else None
        if not mine or (other is not None and not beside) or self.count < 2:
            return None
        seeds = [seed for seed in mine if beside is None or seed in beside]
        values = [mine[seed] if beside is None else mine[seed] - beside[seed] for seed in seeds]
        if not values:
            return None
        means = _mean(values)
        known = means[means == means]  # no NaN: something is to be found
        # a resample has one degree of freedom less than pictures, as the variance of a sample has
        return Part(float(known.var(ddof=1)) * self.count / (self.count - 1), self.freedom) if len(known) > 1 else None


NO_PICTURES = Pictures()
"""Where there are but records."""


def look_at(arms: Sequence[Arm], split: str, metric: str, look: Look) -> Pictures:
    """A damaged file is as none, and named."""
    found: dict[str, dict[int, list[Measured]]] = {}
    lacking: list[str] = []
    damaged: list[str] = []
    for arm in arms:
        of_arm, missing = _of_arm(arm, split, metric, look, damaged)
        lacking += missing
        if of_arm and not missing:
            found[arm.title] = of_arm
    everything = [one for of_arm in found.values() for of_seed in of_arm.values() for one in of_seed]
    if len({one.pictures for one in everything}) != 1:
        return Pictures(lacking=tuple(lacking), damaged=tuple(damaged))
    count = everything[0].pictures
    weights = _weights(count, _number(sum(one.cost for one in everything)))
    means = {
        title: {seed: _mean([one.resampled(weights) for one in of_seed]) for seed, of_seed in of_arm.items()}
        for title, of_arm in found.items()
    }
    return Pictures(count, len(weights), means, tuple(lacking), tuple(damaged))


def _of_arm(
    arm: Arm, split: str, metric: str, look: Look, damaged: list[str]
) -> tuple[dict[int, list[Measured]], list[str]]:
    """By seed, where the arm has a number; and the names of the runs that do not say what they found."""
    found: dict[int, list[Measured]] = defaultdict(list)
    missing = []
    for path, record in arm.runs:
        if (seed := record.choices["seed"]) not in arm.by_seed(metric, split):
            continue
        try:
            one = look(path, record, split, metric)
        except UserError as error:
            damaged.append(str(error))
            one = None
        if one is None:
            missing.append(path.name)
        else:
            found[seed].append(one)
    return found, missing


def _mean(values: Sequence[np.ndarray]) -> np.ndarray:
    return sum(values[1:], start=values[0]) / len(values)


def _number(cost: int) -> int:
    return int(min(MOST, max(FEWEST, BUDGET // max(1, cost))))


def _weights(pictures: int, number: int) -> np.ndarray:
    """(B, I): drawn as they are each time, so that a comparison says the same twice."""
    import numpy as np

    return np.random.default_rng(0).multinomial(pictures, np.full(pictures, 1 / pictures), number)


def notes(pictures: Pictures, runs: int) -> Iterator[str]:
    """What intervals hold for."""
    yield from pictures.damaged
    if pictures.count:
        few = "" if pictures.resamples == MOST else f" (not {MOST}, for it would take long)"
        yield (
            f"intervals and verdicts are over seeds and pictures: {pictures.count} pictures, drawn anew "
            f"{pictures.resamples} times{few}, the same for all arms and seeds. pictures: their share of the variance "
            "of the difference, or of the mean where there is none; the rest is seeds'."
        )
    if pictures.lacking:
        whose = "the runs" if len(pictures.lacking) == runs else names_of(pictures.lacking)
        of_these = "of what they are part of " if pictures.count else ""
        yield (
            f"{whose} kept no detections: {of_these}intervals and verdicts are over seeds alone, and say nothing of "
            "other pictures than these. `headstart evaluate run=<folder>` adds them, where data and weights are there."
        )
