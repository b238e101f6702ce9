"""How to read a comparison, and what is not in it."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.records.record import RunRecord
from headstart.reporting.comparison import Comparison, Target
from headstart.reporting.costs import COSTS

HEADINGS = {"map": "mAP", "map_50": "mAP50", "map_75": "mAP75", "mar": "mAR"}


def heading(metric: str) -> str:
    return HEADINGS.get(metric, metric.removeprefix("per_class/"))


def notes(comparison: Comparison) -> Iterator[str]:
    """How to read the numbers, and what is not among them."""
    metric, cost = heading(comparison.question.metric), COSTS[comparison.question.cost][0]
    yield from (
        "±: half of the 95 % t-interval over seeds of this one mean or paired difference; of twenty, one is wrong. "
        "Better, worse, sure, at most and negative transfer are adjusted for every pair of a target's arms: where "
        "nothing differs, one study in twenty says any of it. Classes have numbers and no verdict.",
        f"to 90 %: training time until the validation has 90 % of the best arm's {metric}, "
        f"estimated by spreading the wall time evenly over the epochs. front: nothing cheaper is as good ({cost}).",
    )
    for target in comparison.targets:
        yield from _target_notes(target, len(comparison.targets) > 1)
    yield from left_out(comparison)


def _target_notes(target: Target, several: bool) -> Iterator[str]:
    head = f"{target.name}: " if several else ""
    if target.family.method:
        yield f"{head}verdicts by {target.family.method}."
    if target.spec:
        yield f"{head}baseline is {', '.join(f'{name}={word}' for name, word in target.spec.items())}, all else equal."
    if target.left:
        yield f"{head}not pooled, for not every group has them: {', '.join(arm.name for arm in target.left)}."
    machines = {machine(record) for arm in target.arms for record in arm.records} - {""}
    if len(machines) > 1:
        yield f"{head}cost was measured on different machines: {'; '.join(sorted(machines))}."


def machine(record: RunRecord) -> str:
    """Processor and GPUs."""
    found = record.environment
    return ", ".join(map(str, [found.get("processor") or "", *(found.get("gpus") or [])])).strip(", ")


def left_out(comparison: Comparison) -> Iterator[str]:
    for status in ("failed", "interrupted", "not_applicable"):
        runs = [(path, record) for path, record in comparison.left_out if record.status == status]
        if runs:
            names = "".join(f"\n  {path.name}{reason(record)}" for path, record in runs)
            yield f"{len(runs)} {status.replace('_', ' ')}:{names}"
    if comparison.copies:
        names = "".join(f"\n  {path}" for path, _ in comparison.copies)
        yield f"{len(comparison.copies)} counted once, for another folder holds the same run:{names}"


def reason(record: RunRecord) -> str:
    """Of a run that failed, in a line."""
    if not record.error:
        return ""
    first = (record.error.get("message") or "").strip().splitlines()[:1]
    return f": {record.error.get('type', '')} {' '.join(first)}".rstrip()[:200]
