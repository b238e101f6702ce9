"""Runs sorted into arms: an arm's runs differ in their seed alone. Imports no torch."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from headstart.records.record import RunRecord
from headstart.reporting.measured import Run, fingerprints
from headstart.reporting.statistics import mean
from headstart.reporting.training_images import ADDRESS, IMAGES, told_by
from headstart.runs.identity import settings_that_matter

NAMES = ("name", "architecture")
"""Of these settings of a group the first that exists says which choice was made in it."""

DRAWS = ("dataset.split_seed", "dataset.val_fraction")
"""Settings that say how splits are drawn."""

MEASURED_BESIDE = ("evaluation.retention", "training.evaluate_untrained")
"""Settings of a run by which it finds more, and nothing else."""


WEIGHTS = "source.weights"
"""Digest of the source's weights, where runs with the same settings started from others."""


@dataclass(frozen=True)
class Arm:
    """One way of doing it, measured with one seed or more."""

    labels: dict[str, str]
    """What distinguishes it from the other arms: `source` -> `imagenet`, `trainer.max_epochs` -> `10`."""
    runs: tuple[Run, ...]
    """By seed."""
    cells: int = 1
    """Runs per seed: more than one where arms were pooled."""

    @property
    def records(self) -> tuple[RunRecord, ...]:
        return tuple(record for _, record in self.runs)

    @property
    def title(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.labels.items()) or "all runs"

    @property
    def name(self) -> str:
        """`imagenet head_only max_epochs=20`."""
        return name_of(self.labels)

    @property
    def seeds(self) -> list[int]:
        return list(dict.fromkeys(record.choices["seed"] for record in self.records))

    def by_seed(self, name: str, split: str = "val") -> dict[int, float]:
        """Seed -> metric (`map`, `per_class/dog`), the mean over the cells; a seed that lacks one is left out."""
        if (name, split) not in self._known:
            self._known[name, split] = self._by_seed(name, split)
        return self._known[name, split]

    @cached_property
    def _known(self) -> dict[tuple[str, str], dict[int, float]]:
        return {}

    def _by_seed(self, name: str, split: str) -> dict[int, float]:
        found: dict[int, list[float]] = defaultdict(list)
        for record in self.records:
            value = metric_of(record, name, split)
            if value is not None:
                found[record.choices["seed"]].append(value)
        return {seed: mean(values) for seed, values in found.items() if len(values) == self.cells}

    def metric(self, name: str) -> list[float]:
        """On the validation set, a number a seed; where there was no ground truth, none."""
        return list(self.by_seed(name).values())

    def cost(self, name: str) -> float:
        """Mean over the runs; NaN where it was not measured."""
        values = [record.cost.get(name) for record in self.records]
        return mean([value for value in values if value is not None])

    def setting(self, key: str) -> str | None:
        """The value of a label, or of a setting that all arms share; None where pooled runs differ in it."""
        if key in self.labels or self.cells > 1:
            return self.labels.get(key)
        names = [key, *(f"{key}.{name}" for name in NAMES)]
        return next((self._settings[name] for name in names if name in self._settings), None)

    @cached_property
    def _settings(self) -> dict[str, str]:
        return _settings(self.runs[0][1])


GROUPS = ("dataset", "model", "backbone", "source", "strategy")


def metric_of(record: RunRecord, name: str, split: str) -> float | None:
    """`map`, or `per_class/<class>`; None where there was no ground truth."""
    group, _, key = name.partition("/")
    value = (record.metrics.get(split) or {}).get(group)
    if key and isinstance(value, dict):
        value = value.get(key)
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def name_of(labels: dict[str, str]) -> str:
    """The choices without their keys, and of paths the last part."""
    words = [short(value) if key in GROUPS else f"{_last(key)}={short(value)}" for key, value in labels.items()]
    return " ".join(words) or "all runs"


def short(value: str) -> str:
    """Of a path its last part: the folder of a run says what it is."""
    return Path(value).name if "/" in value else value


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def make_arms(runs: Sequence[Run]) -> list[Arm]:
    """Of runs whose mAP is one quantity, best arm first."""
    groups: dict[tuple[tuple[str, str], ...], list[Run]] = defaultdict(list)
    for run, settings in zip(runs, _settings_of_arms(runs), strict=True):
        groups[tuple(settings.items())].append(run)
    shown = _distinguishing([dict(key) for key in groups])
    arms = [_arm(dict(key), shown, members) for key, members in groups.items()]
    return sorted(arms, key=lambda arm: -mean(arm.metric("map") or [-1.0]))


def _settings_of_arms(runs: Sequence[Run]) -> list[dict[str, str]]:
    """What a data set is called, and where it lies, counts where its images are told by it, and not otherwise."""
    told, images = told_by(runs), fingerprints(runs, "train")
    settings = [
        {name: word for name, word in _settings(record).items() if name not in ADDRESS or name == told}
        | ({IMAGES: found[:8]} if told == IMAGES else {})
        for (_, record), found in zip(runs, images, strict=True)
    ]
    weights = _weights(runs, [tuple(words.items()) for words in settings])
    return [words | ({WEIGHTS: found} if found else {}) for words, found in zip(settings, weights, strict=True)]


def _weights(runs: Sequence[Run], keys: Sequence[Hashable]) -> list[str]:
    """Of the weights that each run started from the digest, where those of the same key started from others; a source
    may have been trained again in between. Else, and where a record does not say it, as if there were but one."""
    known: dict[Hashable, list[str]] = defaultdict(list)
    for (_, record), key in zip(runs, keys, strict=True):
        if digest := record.load.get("digest"):
            known[key].append(digest)
    several = {key for key, digests in known.items() if len(set(digests)) > 1}
    return [
        str(record.load.get("digest") or known[key][0])[:8] if key in several else ""
        for (_, record), key in zip(runs, keys, strict=True)
    ]


def without_copies(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Two folders may hold one run, brought together from two machines or done by two versions: it counts once, by
    the newer record."""
    images = zip(*(fingerprints(runs, split) for split in ("train", "val", "test")), strict=True)
    same = [(run[1].choices["seed"], found, _elsewhere(run[1])) for run, found in zip(runs, images, strict=True)]
    seen: dict[Hashable, Run] = {}
    for run, key in zip(runs, zip(same, _weights(runs, same), strict=True), strict=True):
        if key not in seen or seen[key][1].schema_version < run[1].schema_version:
            seen[key] = run
    kept = {id(record) for _, record in seen.values()}
    return list(seen.values()), [(path, record) for path, record in runs if id(record) not in kept]


def _elsewhere(record: RunRecord) -> tuple[tuple[str, str], ...]:
    """The settings that the same run has in any other place."""
    return tuple((name, word) for name, word in _settings(record).items() if name not in ADDRESS)


def _settings(record: RunRecord) -> dict[str, str]:
    matter = settings_that_matter(record.config)
    left_out = ("seed", *MEASURED_BESIDE, *_idle_draws(record))
    return {name: _text(value) for name, value in sorted(matter.items()) if name not in left_out}


def _idle_draws(record: RunRecord) -> tuple[str, ...]:
    """How splits are drawn, where the data set has all of its own: only who has read it knows."""
    origin = record.dataset.get("splits_from") or {}
    return () if not origin or any("drawn" in words for words in origin.values()) else DRAWS


def _distinguishing(arms: Sequence[dict[str, str]]) -> list[str]:
    """Settings that differ between the arms, without those that another one shown explains."""
    names = sorted({name for settings in arms for name in settings}, key=_order)
    # A part that some have and others have not is null in these: the settings of it say so already.
    parts = {name for name in names if any(other.startswith(f"{name}.") for other in names)}
    differing = [name for name in names if name not in parts and len({settings.get(name) for settings in arms}) > 1]
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
    group = name.partition(".")[0]
    return (GROUPS.index(group) if group in GROUPS else len(GROUPS), name)


def _arm(settings: dict[str, str], shown: Sequence[str], runs: Sequence[Run]) -> Arm:
    labels = {}
    for name in shown:
        group, _, key = name.partition(".")
        labels[group if key in NAMES else name] = settings.get(name, "-")
    return Arm(labels, tuple(sorted(runs, key=lambda run: run[1].choices["seed"])))


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
