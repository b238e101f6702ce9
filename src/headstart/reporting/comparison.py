"""Every run of a study, compared: what the terminal, the CSV and the page show. Imports no torch."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from headstart.errors import UserError
from headstart.reporting import baseline as base
from headstart.reporting.arms import Arm, finished, make_arms
from headstart.reporting.comparability import Run
from headstart.reporting.costs import SHARE_OF_BEST, Reach, pareto, reach
from headstart.reporting.family import Family
from headstart.reporting.labels import Curve, Saving, curves, images_of, savings
from headstart.reporting.statistics import Difference, interval_95, mean, paired
from headstart.reporting.verdicts import Judged
from headstart.runs.identity import config_hash


@dataclass(frozen=True)
class Question:
    """What is asked of the records."""

    metric: str = "map"
    split: str = "val"
    cost: str = "cpu_seconds"
    group: tuple[str, ...] = ()
    """Labels to pool the arms by; none: every arm is a row."""
    baseline: base.Spec | None = None
    """None: scratch where there is one, else full fine-tuning."""
    margin: float = 0.02
    """So much less of the metric is as good, if it is cheaper."""


@dataclass(frozen=True)
class Row:
    """An arm beside its baseline."""

    arm: Arm
    values: dict[int, float]
    """Seed -> metric."""
    baseline: Arm | None
    """None: there is none, or it is this one (`is_baseline`)."""
    is_baseline: bool
    difference: Judged | None
    scratch: Arm | None
    """The best comparable arm that learned from random weights; None for scratch itself."""
    gain: Judged | None
    """Transfer gain: over `scratch`."""
    classes: dict[str, ClassRow]
    pareto: bool
    reach: Reach
    """Training time until `Target.threshold`."""

    @property
    def mean(self) -> float:
        return mean(list(self.values.values()))

    @property
    def half(self) -> float | None:
        return interval_95(list(self.values.values()))

    @property
    def images(self) -> float:
        return images_of(self.arm)

    @property
    def negative_transfer(self) -> bool:
        """The source did harm, and that is sure beside all else that is said of the target."""
        return self.gain is not None and self.gain.verdict == "worse"


@dataclass(frozen=True)
class ClassRow:
    """Average precision of one class: numbers without a verdict, for there are too many to judge."""

    mean: float
    half: float | None
    gain: Difference | None
    """Over scratch."""


@dataclass(frozen=True)
class Target:
    """Everything about one target data set."""

    name: str
    arms: tuple[Arm, ...]
    rows: tuple[Row, ...]
    """A row per arm, or per group of them; the best first."""
    question: Question
    spec: base.Spec | None
    """What the baseline is here."""
    left: tuple[Arm, ...]
    """Arms that no group could pool."""
    threshold: float
    """90 % of the best arm's metric on the validation set."""
    family: Family
    """What its verdicts are adjusted for: every pair of its rows."""

    def judge(self, row: Row, other: Row) -> Judged | None:
        """`row` minus `other`; None where they share no seed."""
        return self.family.judge(row.arm.title, other.arm.title)

    @cached_property
    def classes(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows for name in row.classes))

    @cached_property
    def curves(self) -> list[Curve]:
        return curves(self.arms, self.question.metric, self.question.split)

    @cached_property
    def savings(self) -> list[Saving]:
        return savings(self.curves)


@dataclass(frozen=True)
class Comparison:
    question: Question
    targets: tuple[Target, ...]
    left_out: tuple[Run, ...]
    """Not finished: failed, interrupted, not applicable."""
    copies: tuple[Run, ...]
    """Runs that were counted already, in another folder."""


def compare_runs(runs: Sequence[Run], question: Question) -> Comparison:
    """Raises `UserError` where nothing is finished, what is compared is unlike, or the question names what is not
    there."""
    done, copies = _without_copies(finished(runs))
    _check_metric(done, question)
    by_target: dict[str, list[Run]] = defaultdict(list)
    for path, record in done:
        by_target[str(record.dataset.get("name") or record.choices.get("dataset"))].append((path, record))
    arms = {name: make_arms(members) for name, members in sorted(by_target.items())}
    every = [arm for members in arms.values() for arm in members]
    _check_group(question.group, every)
    if question.baseline is not None:
        base.check_spec(question.baseline, every)
    left_out = tuple((path, record) for path, record in runs if record.status != "finished")
    targets = tuple(make_target(name, members, question) for name, members in arms.items())
    return Comparison(question, targets, left_out, tuple(copies))


def _without_copies(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Two folders may hold one run, brought together from two machines: it counts once."""
    seen: dict[str, Run] = {}
    for path, record in runs:
        seen.setdefault(config_hash(record.config), (path, record))
    kept = {id(record) for _, record in seen.values()}
    return list(seen.values()), [(path, record) for path, record in runs if id(record) not in kept]


def _check_metric(runs: Sequence[Run], question: Question) -> None:
    results = [record.metrics[question.split] for _, record in runs if record.metrics.get(question.split)]
    if not results:
        raise UserError(
            f"split={question.split}: no record has it. dataset.test_split names a test set before training; "
            "split=val is in every record."
        )
    group, _, key = question.metric.partition("/")
    known = {name for result in results for name in _metric_names(result)}
    if question.metric not in known:
        names = {name for name in known if key and name.startswith(f"{group}/")}
        names = names or {re.sub("/.*", "/<class>", name) for name in known}
        raise UserError(f"metric={question.metric}: the records have {', '.join(sorted(names))}.")


def _metric_names(result: dict[str, object]) -> list[str]:
    plain = [name for name, value in result.items() if not isinstance(value, dict) and name != "images"]
    return plain + [f"{name}/{key}" for name, value in result.items() if isinstance(value, dict) for key in value]


def _check_group(keys: Sequence[str], arms: Sequence[Arm]) -> None:
    labels = list(dict.fromkeys(name for arm in arms for name in arm.labels))
    if unknown := [key for key in keys if not any(arm.setting(key) for arm in arms)]:
        raise UserError(
            f"group={','.join(unknown)}: these runs differ in {', '.join(labels) or 'nothing but the seed'}."
        )


def make_target(name: str, arms: Sequence[Arm], question: Question) -> Target:
    rows, left = base.pool(arms, question.group) if question.group else (list(arms), [])
    spec = question.baseline or base.default_spec(rows)
    if question.group and spec and (other := set(spec) - set(question.group)):
        raise UserError(
            f"baseline: {', '.join(sorted(other))} is pooled by group={','.join(question.group)}, so no row has it. "
            f"Name a baseline by {', '.join(question.group)}."
        )
    best = max((mean(arm.metric(question.metric) or [-1.0]) for arm in rows), default=math.nan)
    threshold = SHARE_OF_BEST * best
    family = Family({arm.title: arm.by_seed(question.metric, question.split) for arm in rows})
    made = _rows(rows, spec, question, threshold, family)
    return Target(name, tuple(arms), tuple(made), question, spec, tuple(left), threshold, family)


def _rows(
    arms: Sequence[Arm], spec: base.Spec | None, question: Question, threshold: float, family: Family
) -> list[Row]:
    means = [mean(list(arm.by_seed(question.metric, question.split).values())) for arm in arms]
    front = pareto([(arm.cost(question.cost), value) for arm, value in zip(arms, means, strict=True)])
    scratch = [arm for arm in arms if base.is_scratch(arm)]
    baselines = [arm for arm in arms if base.matches(arm, spec)] if spec else []
    shared = (baselines, scratch, spec, question, threshold, family)
    rows = [_row(arm, on, *shared) for arm, on in zip(arms, front, strict=True)]
    return sorted(rows, key=lambda row: -row.mean if row.values else math.inf)


def _row(
    arm: Arm,
    on_front: bool,
    baselines: Sequence[Arm],
    scratch: Sequence[Arm],
    spec: base.Spec | None,
    question: Question,
    threshold: float,
    family: Family,
) -> Row:
    other = base.counterpart(arm, baselines, spec or {}, question.metric, question.split)
    origin = None if arm in scratch else base.counterpart(arm, scratch, {}, question.metric, question.split)
    return Row(
        arm,
        arm.by_seed(question.metric, question.split),
        None if other is arm else other,
        other is arm,
        None if other is None or other is arm else family.judge(arm.title, other.title),
        origin,
        None if origin is None else family.judge(arm.title, origin.title),
        _class_rows(arm, origin, question.split),
        on_front,
        reach(arm, question.metric, threshold),
    )


def _class_rows(arm: Arm, origin: Arm | None, split: str) -> dict[str, ClassRow]:
    names = dict.fromkeys(
        name for record in arm.records for name in (record.metrics.get(split) or {}).get("per_class", {})
    )
    rows = {}
    for name in names:
        by_seed = arm.by_seed(key := f"per_class/{name}", split)
        gain = None if origin is None else paired(by_seed, origin.by_seed(key, split))
        rows[name] = ClassRow(mean(values := list(by_seed.values())), interval_95(values), gain)
    return rows
