"""How to read a comparison, and what is not in it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from headstart.records.record import RunRecord
from headstart.reporting import pictures
from headstart.reporting.baseline import Spec, matches
from headstart.reporting.comparability import DEFINITION, names_of
from headstart.reporting.comparison import Comparison, Target
from headstart.reporting.costs import COSTS, users_of_sources
from headstart.reporting.marks import changes
from headstart.reporting.measured import folders
from headstart.reporting.training_images import changed

HEADINGS = {"map": "mAP", "map_50": "mAP50", "map_75": "mAP75", "mar": "mAR"}
SPLITS = {"val": "validation"}


def heading(metric: str) -> str:
    return HEADINGS.get(metric, metric.removeprefix("per_class/"))


def notes(comparison: Comparison) -> Iterator[str]:
    """How to read the numbers, and what is not among them."""
    metric, cost = heading(comparison.question.metric), COSTS[comparison.question.cost][0]
    yield from (
        "±: half of the 95 % t-interval of this one mean or paired difference; of twenty, one is wrong. "
        "Better, worse, sure, at most and negative transfer are adjusted for every pair of a target's arms: where "
        "nothing differs, one study in twenty says any of it. Classes have numbers and no verdict, and intervals over "
        "seeds alone.",
        f"to 90 %: training time until the validation has 90 % of the best arm's {metric}, "
        f"estimated by spreading the wall time evenly over the epochs. front: nothing cheaper is as good ({cost}).",
    )
    yield from _parted(comparison.targets)
    for target in comparison.targets:
        head = f"{target.name}: " if len(comparison.targets) > 1 else ""
        yield from (head + note for note in _target_notes(target, comparison))
    yield from _sources(comparison)
    yield from left_out(comparison)


def _parted(targets: Sequence[Target]) -> Iterator[str]:
    """Runs of one data set that are no target together."""
    alike: dict[str, list[Target]] = defaultdict(list)
    for target in targets:
        alike[target.group.names[0]].append(target)
    for name, parts in alike.items():
        if len(parts) > 1:
            sides = "".join(f"\n  {part.name}: {names_of(folders(part.group.runs))}" for part in parts)
            yield f"{name} is {len(parts)} targets, not compared with each other: {_why_parted(parts)}.{sides}"


def _why_parted(parts: Sequence[Target]) -> str:
    groups = [part.group for part in parts]
    reasons = []
    if len({(group.split, group.images) for group in groups}) > 1:
        reasons.append("the runs were evaluated on different images")
    if len({group.definition for group in groups}) > 1:
        reasons.append(f"by different definitions of mAP ({', '.join(DEFINITION)})")
    return ", and ".join(reasons)


def _target_notes(target: Target, comparison: Comparison) -> Iterator[str]:
    group, question = target.group, target.question
    if group.why:
        yield f"measured on the {SPLITS.get(group.split, group.split)} images: {group.why}."
    if len(group.names) > 1:
        yield f"the same images are also called {', '.join(group.names[1:])}."
    yield from pictures.notes(target.family.pictures, len(group.runs))
    if target.family.method:
        yield f"verdicts by {target.family.method}."
    if target.spec:
        yield f"baseline is {', '.join(f'{name}={word}' for name, word in target.spec.items())}, all else equal."
    if question.baseline and not any(matches(row.arm, question.baseline) for row in target.rows):
        yield _baseline_elsewhere(question.baseline, comparison)
    if target.left:
        yield f"not pooled, for not every group has them: {', '.join(arm.name for arm in target.left)}."
    yield from _marks(target)
    machines = {machine(record) for arm in target.arms for record in arm.records} - {""}
    if len(machines) > 1:
        yield f"cost was measured on different machines: {'; '.join(sorted(machines))}."


def _baseline_elsewhere(spec: Spec, comparison: Comparison) -> str:
    """A pair that is refused, by name."""
    others = [
        f"{row.arm.name} of {target.name}"
        for target in comparison.targets
        for row in target.rows
        if matches(row.arm, spec)
    ]
    wanted = ",".join(f"{name}={word}" for name, word in spec.items())
    return f"nothing is compared with baseline={wanted}: {names_of(others)} was measured on other images, or otherwise."


def _marks(target: Target) -> Iterator[str]:
    """What numbers owe to something else than the settings."""
    for line in changed(target.group.runs):
        yield (
            "runs with the same settings were trained on different images, for the data has changed in between: "
            f"{line}. Restore the data, or do the older ones again with rerun=true."
        )
    selected = [f"{row.arm.name} ({row.selected})" for row in target.rows if row.selected]
    if selected:
        yield (
            f"more than in the others was chosen on these very images in {', '.join(selected)}: such a number is "
            "too good. A test split has none of it: dataset.test_fraction draws one."
        )
    for condition, sides in target.mixture.items():
        words = "; ".join(f"{value}: {names_of([arm.name for arm in arms])}" for value, arms in sides.items())
        counts = Counter(arm.name for arms in sides.values() for arm in arms)
        mixing = [name for name, count in counts.items() if count > 1]
        within = f" Within one arm: {names_of(mixing)}." if mixing else ""
        yield f"{condition} is not the same in all runs, and may be what a difference is owed to: {words}.{within}"
    resumed = [f"{path.name} ({', '.join(found)})" for path, record in target.group.runs if (found := changes(record))]
    if resumed:
        yield f"went on in another arithmetic than they began in: {names_of(resumed)}."


def _sources(comparison: Comparison) -> Iterator[str]:
    """What the sources cost that were trained for the runs shown."""
    records = [record for target in comparison.targets for _, record in target.group.runs]
    if found := users_of_sources(records):
        words = ", ".join(f"{run} ({users} run{'s' * (users > 1)})" for run, users in found.items())
        yield (
            "source: CPU seconds of training the source, in equal parts for the runs shown that start from it, and no "
            f"part of the arm's own cost: {words}."
        )


def machine(record: RunRecord) -> str:
    """Processor, GPUs and threads."""
    found = record.environment
    threads = [f"{found['threads']} threads"] if found.get("threads") else []
    return ", ".join(map(str, [found.get("processor") or "", *(found.get("gpus") or []), *threads])).strip(", ")


def left_out(comparison: Comparison) -> Iterator[str]:
    for status in ("failed", "interrupted", "not_applicable"):
        runs = [(path, record) for path, record in comparison.left_out if record.status == status]
        if runs:
            names = "".join(f"\n  {path.name}{reason(record)}" for path, record in runs)
            yield f"{len(runs)} {status.replace('_', ' ')}:{names}"
    if comparison.unmeasured:
        names = "".join(f"\n  {run.path.name}: {run.why}" for run in comparison.unmeasured)
        yield f"{len(comparison.unmeasured)} finished, and no measurement:{names}"
    if comparison.copies:
        names = "".join(f"\n  {path}" for path, _ in comparison.copies)
        yield f"{len(comparison.copies)} counted once, for another folder holds the same run:{names}"


def reason(record: RunRecord) -> str:
    """Of a run that failed, in a line."""
    if not record.error:
        return ""
    first = (record.error.get("message") or "").strip().splitlines()[:1]
    return f": {record.error.get('type', '')} {' '.join(first)}".rstrip()[:200]
