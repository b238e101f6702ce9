"""Arms beside their baselines: the rows of a comparison. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from headstart.reporting import baseline as base
from headstart.reporting.arms import Arm
from headstart.reporting.costs import Reach, pareto, reach, source_costs
from headstart.reporting.family import Family
from headstart.reporting.labels import images_of
from headstart.reporting.marks import Mixture, chosen_on, computed_in
from headstart.reporting.statistics import Difference, Part, deviation, interval_95, mean, paired, share_of_pictures
from headstart.reporting.verdicts import Judged


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
    """Training time until a share of the best arm's metric: `Target.threshold`."""
    selected: str = ""
    """What was chosen on the very images compared, more than in other rows: `best of 5 mixtures`."""
    computed_in: str = ""
    """Precision, device and versions, where the runs of the target differ in them."""
    pictures: Part | None = None
    """What its mean varies by over pictures; None: not known, and its interval is over seeds alone."""
    source_cost: dict[str, float] = field(default_factory=dict)
    """Seconds that training the source took, its share: not part of the arm's own cost."""

    @property
    def mean(self) -> float:
        return mean(list(self.values.values()))

    @property
    def half(self) -> float | None:
        return interval_95(list(self.values.values()), self.pictures)

    @property
    def share_of_pictures(self) -> float | None:
        """Of the variance of its mean."""
        return share_of_pictures(deviation(list(self.values.values())), len(self.values), self.pictures)

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


def marked(rows: Sequence[Row], split: str, mixed: Mixture, users: Mapping[str, int]) -> list[Row]:
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


def make_rows(
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
        pictures=family.pictures.part(arm.title),
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
