"""What an arm costs, and which arms nothing cheaper beats."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.records.record import RunRecord
from headstart.reporting.arms import Arm
from headstart.reporting.statistics import mean

COSTS = {
    "cpu_seconds": ("CPU time", "s"),
    "wall_seconds": ("wall time", "s"),
    "peak_memory_mib": ("peak memory", "MiB"),
    "trained_parameters": ("trained parameters", ""),
}
"""What the Pareto front may be drawn against, in words and with its unit; of each less is better."""

SHARE_OF_BEST = 0.9


def pareto(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Of (cost, value) pairs: whether no other has at least the value for less, or more for no more. NaN: never."""
    order = sorted(
        (i for i, point in enumerate(points) if not any(map(math.isnan, point))),
        key=lambda i: (points[i][0], -points[i][1]),
    )
    front, best, at = [False] * len(points), -math.inf, -math.inf
    for i in order:
        cost, value = points[i]
        front[i] = value > best or (value == best and cost == at)
        if value > best:
            best, at = value, cost
    return front


SOURCE_COSTS = ("cpu_seconds", "wall_seconds")


def users_of_sources(records: Iterable[RunRecord]) -> dict[str, int]:
    """Run that was trained as a source -> how many of `records` start from it."""
    return Counter(_source_run(source) for record in records if (source := record.cost.get("source")))


def source_costs(arm: Arm, users: Mapping[str, int]) -> dict[str, float]:
    """What training their sources cost the arm's runs, on average; empty where none of them has a source of its own.

    A source that several of the runs shown start from is shared among them in equal parts.
    """
    sources = [source for record in arm.records if (source := record.cost.get("source"))]
    shares = {
        name: [source[name] / users[_source_run(source)] for source in sources if source.get(name) is not None]
        for name in SOURCE_COSTS
    }
    return {name: math.fsum(found) / len(arm.records) for name, found in shares.items() if found}


def _source_run(source: Mapping[str, Any]) -> str:
    return Path(str(source.get("run"))).name


@dataclass(frozen=True)
class Reach:
    """How long an arm's runs train until they have a certain mAP."""

    seconds: float
    """Mean over the runs that reach it; NaN where none does."""
    runs: int
    """That reach it."""
    of: int


def reach(arm: Arm, metric: str, threshold: float) -> Reach:
    """Estimated from the history: the wall time of a run, spread evenly over its epochs.

    Time that training waited for validation counts; what came before the first epoch does not.
    """
    found = [seconds_until(record, metric, threshold) for record in arm.records]
    reached = [seconds for seconds in found if seconds is not None]
    return Reach(mean(reached), len(reached), len(found))


def seconds_until(record: RunRecord, metric: str, threshold: float) -> float | None:
    """Until the end of the first epoch whose validation reached `threshold`; 0 for the untrained model."""
    rows = curve(record, metric)
    wall, last = record.cost.get("wall_seconds"), max((epoch for epoch, _ in rows), default=0)
    first = next((epoch for epoch, value in rows if value >= threshold), None)
    if first is None or wall is None or not last:
        return None
    return float(wall) * first / last


def curve(record: RunRecord, metric: str) -> list[tuple[int, float]]:
    """(epoch, metric on the validation set) of every epoch that has one; epoch 0 is before training."""
    group, _, name = metric.partition("/")
    key = f"val/ap/{name}" if group == "per_class" else f"val/{metric}"
    rows = record.metrics.get("history", [])
    return [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]
