"""Runs sorted into arms: an arm's runs differ in their seed alone. Imports no torch."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.errors import UserError
from headstart.records.record import RunRecord
from headstart.reporting.statistics import mean
from headstart.study.identity import settings_that_matter

Run = tuple[Path, RunRecord]
NAMES = ("name", "architecture")
"""Of these settings of a group the first that exists says which choice was made in it."""


@dataclass(frozen=True)
class Arm:
    """One way of doing it, measured with one seed or more."""

    labels: dict[str, str]
    """What distinguishes it from the other arms: `source` -> `imagenet`, `trainer.max_epochs` -> `10`."""
    records: tuple[RunRecord, ...]
    """By seed."""

    @property
    def title(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.labels.items()) or "all runs"

    @property
    def seeds(self) -> list[int]:
        return [record.choices["seed"] for record in self.records]

    def metric(self, name: str) -> list[float]:
        """On the validation set, a number a seed; where there was no ground truth, none."""
        values = [record.metrics.get("val", {}).get(name) for record in self.records]
        return [value for value in values if value is not None and math.isfinite(value)]

    def cost(self, name: str) -> float:
        """Mean over the seeds; NaN where it was not measured."""
        values = [record.cost.get(name) for record in self.records]
        return mean([value for value in values if value is not None])


def make_arms(runs: Sequence[Run]) -> list[Arm]:
    """The finished ones among `runs`, best arm first.

    Raises `UserError` where there are none, or where they were not measured on the same images.
    """
    finished = [(path, record) for path, record in runs if record.status == "finished"]
    if not finished:
        raise UserError("No finished run to show: `python train.py` makes one, in outputs/")
    _refuse_unlike(finished)
    groups: dict[tuple[tuple[str, str], ...], list[RunRecord]] = defaultdict(list)
    for _, record in finished:
        groups[tuple(_settings(record).items())].append(record)
    shown = _distinguishing([dict(key) for key in groups])
    arms = [_arm(dict(key), shown, records) for key, records in groups.items()]
    return sorted(arms, key=lambda arm: -mean(arm.metric("map") or [-1.0]))


def _refuse_unlike(runs: Sequence[Run]) -> None:
    """mAP on other images is another quantity."""
    prints: dict[str, list[str]] = defaultdict(list)
    for path, record in runs:
        prints[str(record.dataset.get("evaluation_fingerprint"))].append(path.name)
    if len(prints) > 1:
        lines = [f"  {fingerprint[:12]}: {', '.join(names)}" for fingerprint, names in prints.items()]
        raise UserError(
            "These runs were evaluated on different images, so their mAP cannot be compared:\n"
            + "\n".join(lines)
            + "\nCompare runs of one data set and one split (dataset, dataset.split_seed, dataset.val_fraction)."
        )


def _settings(record: RunRecord) -> dict[str, str]:
    matter = settings_that_matter(record.config)
    return {name: _text(value) for name, value in sorted(matter.items()) if name != "seed"}


def _distinguishing(arms: Sequence[dict[str, str]]) -> list[str]:
    """Settings that differ between the arms, without those that another one shown explains."""
    names = sorted({name for settings in arms for name in settings}, key=_order)
    differing = [name for name in names if len({settings.get(name) for settings in arms}) > 1]
    choices = [name for name in differing if _is_choice(name, arms)]
    return choices + [
        name
        for name in differing
        if name not in choices and not any(_explains(choice, name, arms) for choice in choices)
    ]


def _is_choice(name: str, arms: Sequence[dict[str, str]]) -> bool:
    group, _, key = name.partition(".")
    first = next((known for known in NAMES if any(f"{group}.{known}" in settings for settings in arms)), None)
    return key == first


def _explains(choice: str, name: str, arms: Sequence[dict[str, str]]) -> bool:
    """Whether both are of one group, and arms with the same choice have the same value."""
    if choice.partition(".")[0] != name.partition(".")[0]:
        return False
    pairs = {(settings.get(choice), settings.get(name)) for settings in arms}
    return len(pairs) == len({settings.get(choice) for settings in arms})


def _order(name: str) -> tuple[int, str]:
    """Groups in the order in which a run is described, then the rest by name."""
    groups = ("dataset", "model", "backbone", "source", "strategy")
    group = name.partition(".")[0]
    return (groups.index(group) if group in groups else len(groups), name)


def _arm(settings: dict[str, str], shown: Sequence[str], records: Sequence[RunRecord]) -> Arm:
    labels = {}
    for name in shown:
        group, _, key = name.partition(".")
        labels[group if key in NAMES else name] = settings.get(name, "-")
    return Arm(labels, tuple(sorted(records, key=lambda record: record.choices["seed"])))


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
