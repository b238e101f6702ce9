"""Every run of a study, compared: what the terminal, the CSV and the page show. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from headstart.errors import UserError
from headstart.reporting import baseline as base
from headstart.reporting.arms import Arm, make_arms, without_copies
from headstart.reporting.comparability import Group, make_groups, no_measurement, titles
from headstart.reporting.costs import SHARE_OF_BEST, users_of_sources
from headstart.reporting.family import Family
from headstart.reporting.labels import Curve, Saving, curves, savings
from headstart.reporting.marks import Mixture, mixture
from headstart.reporting.measured import Run, Unmeasured, finished
from headstart.reporting.pictures import Look, look_at, nothing
from headstart.reporting.questions import check_metric, check_pooled_by, check_split
from headstart.reporting.rows import Question, Row, make_rows, marked
from headstart.reporting.statistics import mean
from headstart.reporting.verdicts import Judged


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
        return curves(self.arms, self.question.metric, self.question.split, self.family.pictures)

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


def compare_runs(runs: Sequence[Run], question: Question, look: Look = nothing) -> Comparison:
    """Each group of runs whose mAP is one quantity is a target of its own. `look`: what a run found on each picture.

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
        make_target(title, group, members, question, users, look)
        for title, group, members in zip(titles(groups), groups, arms, strict=True)
    ]
    left_out = tuple((path, record) for path, record in runs if record.status != "finished")
    return Comparison(
        question, tuple(sorted(targets, key=lambda target: target.name)), left_out, tuple(copies), tuple(unmeasured)
    )


def make_target(
    name: str, group: Group, arms: Sequence[Arm], question: Question, users: Mapping[str, int], look: Look
) -> Target:
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
    pictures = look_at(rows, question.split, question.metric, look)
    family = Family({arm.title: arm.by_seed(question.metric, question.split) for arm in rows}, pictures)
    made = marked(make_rows(rows, spec, question, threshold, family), group.split, mixed, users)
    return Target(name, tuple(arms), tuple(made), question, spec, tuple(left), threshold, group, mixed, family)
