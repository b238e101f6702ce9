"""Pictures of what runs found. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.records.record import RunRecord
from headstart.reporting.arms import Arm, make_arms
from headstart.reporting.comparability import only_group
from headstart.reporting.measured import Run
from headstart.reporting.statistics import interval_95, mean

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Distinct for the colour-blind, too (Okabe and Ito, 2008)."""


def plot_summary(runs: Sequence[Run], path: Path) -> None:
    """mAP per arm with its seeds as points, over the epochs, and against the cost: three panels, one PNG.

    Raises `UserError` where the runs do not belong in one picture.
    """
    arms = make_arms(only_group(runs)[0].runs)
    figure = Figure(figsize=(13, 3.9), layout="constrained")
    bars, curves, costs = figure.subplots(1, 3)
    for position, arm in enumerate(arms):
        colour = COLOURS[position % len(COLOURS)]
        _draw_bar(bars, position, arm, colour)
        _draw_curves(curves, arm, colour)
        costs.plot(_costs(arm), arm.metric("map"), "o", color=colour)
    costs.update_datalim([(0, 0)])  # where all cost alike, the margin would be of their difference: points cut in half
    costs.autoscale_view()
    _finish_bars(bars, arms)
    curves.set(title="while training", xlabel="epoch", ylabel="mAP on the validation images", ylim=(0, None))
    costs.set(title="against the cost", xlabel="CPU seconds", ylabel="mAP", xlim=(0, None), ylim=(0, None))
    for axes in (bars, curves, costs):
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def _draw_bar(axes: Axes, position: int, arm: Arm, colour: str) -> None:
    values = arm.metric("map")
    if not values:
        return
    axes.barh(position, mean(values), color=colour, alpha=0.6, height=0.6, xerr=interval_95(values), ecolor=colour)
    axes.plot(values, [position] * len(values), "o", color=colour)
    best = (max(values), position)
    axes.annotate(f"{mean(values):.3f}", best, xytext=(9, 0), textcoords="offset points", va="center")


def _finish_bars(axes: Axes, arms: Sequence[Arm]) -> None:
    axes.set_yticks(range(len(arms)), [arm.title.replace(" ", "\n") for arm in arms])
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.set(title="mAP of each arm (a point per seed)", xlabel="mAP", xlim=(0, None))


def _draw_curves(axes: Axes, arm: Arm, colour: str) -> None:
    for record in arm.records:
        rows = history(record)
        axes.plot([row[0] for row in rows], [row[1] for row in rows], color=colour)


def history(record: RunRecord) -> list[tuple[int, float]]:
    """(epoch, mAP) of every epoch that has one; epoch 0 is before training."""
    rows: list[dict[str, Any]] = record.metrics.get("history", [])
    return [(row["epoch"], row["val/map"]) for row in rows if row.get("val/map") is not None]


def _costs(arm: Arm) -> list[float]:
    """Of the runs that have a mAP, in the order of `arm.metric`."""
    measured = [record for record in arm.records if record.metrics.get("val", {}).get("map") is not None]
    return [record.cost.get("cpu_seconds", 0.0) for record in measured]
