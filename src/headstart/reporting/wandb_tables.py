"""Tables of W&B, and its own plots of them, from a comparison. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from headstart.reporting.arms import metric_of
from headstart.reporting.comparison import Comparison, Target
from headstart.reporting.comparison_csv import absent, arm_lines, class_lines
from headstart.reporting.costs import COSTS
from headstart.reporting.labels import images_of
from headstart.reporting.matrix import make_matrix
from headstart.reporting.notes import heading
from headstart.reporting.run_gains import run_gains
from headstart.reporting.wandb_gains import gain_key
from headstart.visible import cell

Lines = list[dict[str, Any]]


def tables(comparison: Comparison) -> dict[str, Any]:
    """Name -> `wandb.Table`; what has no line is left out."""
    lines = {
        "comparison": arm_lines(comparison),
        "classes": class_lines(comparison),
        "runs": [line for target in comparison.targets for line in _run_lines(target)],
        "label_efficiency": [line for target in comparison.targets for line in _label_lines(target)],
        "labels_saved": [line for target in comparison.targets for line in _saving_lines(target)],
        "source_by_target": list(_matrix_lines(comparison)),
    }
    return {name: table(found) for name, found in lines.items() if found}


def table(lines: Lines) -> Any:
    """As `wandb.Table`; None for what is missing."""
    import wandb

    columns: list[Any] = list(dict.fromkeys(name for line in lines for name in line))
    rows: list[Any] = [[None if absent(word := line.get(name)) else cell(word) for name in columns] for line in lines]
    return wandb.Table(columns=columns, data=rows)


def _run_lines(target: Target) -> Iterator[dict[str, Any]]:
    """Each run by itself: what parallel coordinates need."""
    question, gains = target.question, run_gains(target)
    for arm in target.arms:
        for path, record in arm.runs:
            yield (
                {"target": target.name, "run": path.name}
                | {name: word for name, word in record.choices.items() if name != "dataset"}
                | {f"{question.split}/{question.metric}": metric_of(record, question.metric, question.split)}
                | {gain_key(question): gains.get(path)}
                | {name: record.cost.get(name) for name in COSTS}
                | {"labelled_images": images_of(arm)}
            )


def _label_lines(target: Target) -> Iterator[dict[str, Any]]:
    for curve in target.curves:
        for point in curve.points:
            yield {
                "target": target.name,
                "arm": curve.name,
                "labelled_images": point.images,
                "mean": point.mean,
                "half_95": point.half,
            }


def _saving_lines(target: Target) -> Iterator[dict[str, Any]]:
    for saving in target.savings:
        yield {
            "target": target.name,
            "arm": saving.curve.name,
            "reference": saving.reference.name,
            "goal": saving.goal,
            "labelled_images": saving.images,
            "labelled_images_low": saving.low,
            "labelled_images_high": saving.high,
            "at_most": saving.at_most,
            "share_saved": saving.saved,
        }


def _matrix_lines(comparison: Comparison) -> Iterator[dict[str, Any]]:
    matrix = make_matrix(comparison)
    for (source, target), found in (matrix.cells if matrix else {}).items():
        gain = found.row.gain.mean if found.row.gain else None
        yield {
            "source": source,
            "target": target,
            "strategy": found.strategy,
            "mean": found.row.mean,
            "half_95": found.row.half,
            "gain": gain,
        }


def plots(comparison: Comparison) -> dict[str, Any]:
    """`<target>/<what>` -> plot, a section of the dashboard per target."""
    return {f"{target.name}/{name}": plot for target in comparison.targets for name, plot in _plots(target) if plot}


def _plots(target: Target) -> Iterator[tuple[str, Any]]:
    import wandb

    metric, (cost, unit) = heading(target.question.metric), COSTS[target.question.cost]
    rows = [row for row in target.rows if row.values]
    bars = [{"arm": row.arm.name, metric: row.mean} for row in rows]
    yield "arms", _drawn(bars, wandb.plot.bar, "arm", metric, title=f"{metric} on {target.name}")
    gains = [{"arm": row.arm.name, "gain": row.gain.mean} for row in rows if row.gain]
    yield "transfer_gain", _drawn(gains, wandb.plot.bar, "arm", "gain", title=f"Transfer gain on {target.name}")
    spent = f"{cost} ({unit})" if unit else cost
    points = [
        {spent: row.arm.cost(target.question.cost), metric: row.mean, "arm": row.arm.name, "front": row.pareto}
        for row in rows
    ]
    known = [point for point in points if not absent(point[spent])]
    yield "cost", _drawn(known, wandb.plot.scatter, spent, metric, title=f"{metric} against {cost} on {target.name}")
    labels = [{"labelled images": p.images, metric: p.mean, "arm": c.name} for c in target.curves for p in c.points]
    yield (
        "label_efficiency",
        _drawn(labels, wandb.plot.line, "labelled images", metric, "arm", title=f"Label efficiency on {target.name}"),
    )


def _drawn(lines: Sequence[dict[str, Any]], plot: Any, *columns: str, title: str) -> Any:
    """None where there is nothing to draw."""
    return plot(table(list(lines)), *columns, title=title) if lines else None
