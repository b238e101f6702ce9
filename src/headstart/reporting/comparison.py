"""Every run of a study, compared: what the terminal, the CSV and the page show. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from headstart.errors import UserError
from headstart.reporting import baseline as base
from headstart.reporting.arms import Arm, make_arms, without_copies
from headstart.reporting.comparability import Group, make_groups, no_measurement, titles
from headstart.reporting.costs import SHARE_OF_BEST, Reach, pareto, reach, source_costs, users_of_sources
from headstart.reporting.labels import Curve, Saving, curves, images_of, savings
from headstart.reporting.marks import Mixture, chosen_on, computed_in, mixture
from headstart.reporting.measured import Run, Unmeasured, finished
from headstart.reporting.questions import check_metric, check_pooled_by, check_split
from headstart.reporting.statistics import Difference, interval_95, mean, paired


@dataclass(frozen=True)
class Question:
    """What is asked of the records."""

    metric: str = "map"
    split: str = ""
    """Empty: of each target `test` where every run has the same one, else `val`. In a target's own question it is
    never empty."""
    cost: str = "cpu_seconds"
    group: tuple[str, ...] = ()
    """Labels to pool the arms by; none: every arm is a row."""
    baseline: base.Spec | None = None
    """None: scratch where there is one, else full fine-tuning."""


@dataclass(frozen=True)
class Row:
    """An arm beside its baseline."""

    arm: Arm
    values: dict[int, float]
    """Seed -> metric."""
    baseline: Arm | None
    """None: there is none, or it is this one (`is_baseline`)."""
    is_baseline: bool
    difference: Difference | None
    scratch: Arm | None
    """The counterpart that learned from random weights; None for scratch itself."""
    gain: Difference | None
    """Transfer gain: over `scratch`."""
    classes: dict[str, ClassRow]
    pareto: bool
    reach: Reach
    """Training time until `Target.threshold`."""
    selected: str = ""
    """What was chosen on the very images compared, more than in other rows: `best of 5 mixtures`."""
    computed_in: str = ""
    """Precision, device and versions, where the runs of the target differ in them."""
    source_cost: dict[str, float] = field(default_factory=dict)
    """Seconds that training the source took, its share: not part of the arm's own cost."""

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
        """The source did harm, and it is no chance."""
        return self.gain is not None and self.gain.verdict == "worse"


@dataclass(frozen=True)
class ClassRow:
    """Average precision of one class."""

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
    group: Group
    """Its runs, the split they are compared on and why, the images and the definition of mAP."""
    mixture: Mixture
    """Conditions that differ between its runs, beside their settings."""

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
    unmeasured: tuple[Unmeasured, ...] = ()
    """Finished, and no measurement."""

    @property
    def splits(self) -> list[str]:
        """On which the targets are compared."""
        return sorted({target.question.split for target in self.targets})


def compare_runs(runs: Sequence[Run], question: Question) -> Comparison:
    """Each group of runs whose mAP is one quantity is a target of its own.

    Raises `UserError` where nothing is finished and measured, or the question names what is not there.
    """
    done, copies = without_copies(finished(runs))
    check_split(question.split, done)
    groups, unmeasured = make_groups(done, question.split)
    if not groups:
        raise UserError(no_measurement(unmeasured))
    check_metric(groups, question.metric)
    arms = [make_arms(group.runs) for group in groups]
    every = [arm for members in arms for arm in members]
    check_pooled_by(question.group, every)
    if question.baseline is not None:
        base.check_spec(question.baseline, every)
    users = users_of_sources(record for group in groups for _, record in group.runs)
    targets = [
        make_target(title, group, members, question, users)
        for title, group, members in zip(titles(groups), groups, arms, strict=True)
    ]
    left_out = tuple((path, record) for path, record in runs if record.status != "finished")
    return Comparison(
        question, tuple(sorted(targets, key=lambda target: target.name)), left_out, tuple(copies), tuple(unmeasured)
    )


def make_target(name: str, group: Group, arms: Sequence[Arm], question: Question, users: Mapping[str, int]) -> Target:
    """`users`: of each run that was trained as a source, how many of the runs shown start from it."""
    question = replace(question, split=group.split)
    rows, left = base.pool(arms, question.group) if question.group else (list(arms), [])
    spec = question.baseline or base.default_spec(rows)
    if question.group and spec and (other := set(spec) - set(question.group)):
        raise UserError(
            f"baseline: {', '.join(sorted(other))} is pooled by group={','.join(question.group)}, so no row has it. "
            f"Name a baseline by {', '.join(question.group)}."
        )
    best = max((mean(arm.metric(question.metric) or [-1.0]) for arm in rows), default=math.nan)
    threshold = SHARE_OF_BEST * best
    mixed = mixture(rows)
    made = _marked(_rows(rows, spec, question, threshold), group.split, mixed, users)
    return Target(name, tuple(arms), tuple(made), question, spec, tuple(left), threshold, group, mixed)


def _marked(rows: Sequence[Row], split: str, mixed: Mixture, users: Mapping[str, int]) -> list[Row]:
    arms = [row.arm for row in rows]
    return [
        replace(
            row,
            selected=selected,
            computed_in=computed_in(row.arm, mixed),
            source_cost=source_costs(row.arm, users),
        )
        for row, selected in zip(rows, chosen_on(arms, split), strict=True)
    ]


def _rows(arms: Sequence[Arm], spec: base.Spec | None, question: Question, threshold: float) -> list[Row]:
    means = [mean(list(arm.by_seed(question.metric, question.split).values())) for arm in arms]
    front = pareto([(arm.cost(question.cost), value) for arm, value in zip(arms, means, strict=True)])
    scratch = [arm for arm in arms if base.is_scratch(arm)]
    baselines = [arm for arm in arms if base.matches(arm, spec)] if spec else []
    rows = [_row(arm, baselines, scratch, spec, question, on, threshold) for arm, on in zip(arms, front, strict=True)]
    return sorted(rows, key=lambda row: -row.mean if row.values else math.inf)


def _row(
    arm: Arm,
    baselines: Sequence[Arm],
    scratch: Sequence[Arm],
    spec: base.Spec | None,
    question: Question,
    on_front: bool,
    threshold: float,
) -> Row:
    other = base.counterpart(arm, baselines, spec or {}, question.metric, question.split)
    origin = None if arm in scratch else base.counterpart(arm, scratch, {}, question.metric, question.split)
    return Row(
        arm,
        arm.by_seed(question.metric, question.split),
        None if other is arm else other,
        other is arm,
        None if other is arm else _difference(arm, other, question.metric, question.split),
        origin,
        _difference(arm, origin, question.metric, question.split),
        _class_rows(arm, origin, question.split),
        on_front,
        reach(arm, question.metric, threshold),
    )


def _difference(arm: Arm, other: Arm | None, metric: str, split: str) -> Difference | None:
    return None if other is None else paired(arm.by_seed(metric, split), other.by_seed(metric, split))


def _class_rows(arm: Arm, origin: Arm | None, split: str) -> dict[str, ClassRow]:
    names = dict.fromkeys(
        name for record in arm.records for name in (record.metrics.get(split) or {}).get("per_class", {})
    )
    rows = {}
    for name in names:
        values = list(arm.by_seed(key := f"per_class/{name}", split).values())
        rows[name] = ClassRow(mean(values), interval_95(values), _difference(arm, origin, key, split))
    return rows
