"""What runs found and what they cost, in one table. Imports no torch."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from headstart.reporting.arms import Arm, make_arms
from headstart.reporting.comparability import only_group
from headstart.reporting.measured import Run, Unmeasured
from headstart.reporting.statistics import interval_95, mean
from headstart.visible import cell


@dataclass(frozen=True)
class Summary:
    """A table of text, for any output."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    def as_rich(self) -> Table:
        table = Table(caption="\n".join(self.notes), caption_justify="left")
        for column in self.columns:
            table.add_column(column, justify="right" if column in NUMBERS else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

    def as_markdown(self) -> str:
        rule = ["---:" if column in NUMBERS else "---" for column in self.columns]
        lines = ["| " + " | ".join(row) + " |" for row in (self.columns, rule, *self.rows)]
        return "\n".join([*lines, "", *(f"{note}  " for note in self.notes)]) + "\n"

    def as_csv(self) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([map(cell, row) for row in (self.columns, *self.rows)])
        return text.getvalue()


NUMBERS = {"seeds", "mAP", "mAP50", "CPU time", "cost", "trained"}
MEASURED = ("seeds", "mAP", "mAP50", "CPU time", "cost", "trained")


def summarise(runs: Sequence[Run]) -> Summary:
    """A row per arm, the best first. Raises `UserError` where the runs do not belong in one table."""
    group, unmeasured = only_group(runs)
    arms = make_arms(group.runs)
    labels = list(arms[0].labels)
    dearest = max((arm.cost("cpu_seconds") for arm in arms), key=lambda cost: -1.0 if math.isnan(cost) else cost)
    rows = [(*arm.labels.values(), *_measured(arm, dearest)) for arm in arms]
    return Summary((*labels, *MEASURED), tuple(rows), tuple(_notes(runs, arms, unmeasured)))


def _measured(arm: Arm, dearest: float) -> tuple[str, ...]:
    cost = arm.cost("cpu_seconds")
    return (
        str(len(arm.seeds)),
        with_interval(arm.metric("map")),
        with_interval(arm.metric("map_50")),
        "-" if math.isnan(cost) else f"{cost:.0f} s",
        "-" if math.isnan(cost) or not dearest else f"{cost / dearest:.0%}",
        "-" if math.isnan(arm.cost("trained_parameters")) else f"{arm.cost('trained_parameters') / 1e6:.2f} M",
    )


def with_interval(values: Sequence[float]) -> str:
    """`0.412 ± 0.020` over seeds, `0.412` for one, `-` for none."""
    half = interval_95(values)
    if half is not None:
        return f"{mean(values):.3f} ± {half:.3f}"
    return f"{values[0]:.3f}" if values else "-"


def _notes(runs: Sequence[Run], arms: Sequence[Arm], unmeasured: Sequence[Unmeasured]) -> list[str]:
    """How to read the numbers, and what is not among them."""
    counts = {len(arm.seeds) for arm in arms}
    notes = ["mAP: COCO's average over IoU 0.50:0.95, on the validation images."]
    notes.append("cost: CPU time relative to the dearest; trained: parameters that learn.")
    if max(counts) > 1:
        notes.append("±: half of the 95 % t-interval over seeds, of each mean by itself.")
    if 1 in counts:
        who = "1 seed" if counts == {1} else "Rows with 1 seed"
        notes.append(f"{who}: no interval. More seeds would begin to tell luck from effect.")
    others = sorted(path.name + f" ({record.status})" for path, record in runs if record.status != "finished")
    if others:
        notes.append(f"Left out, not finished: {', '.join(others)}.")
    notes += [f"Left out: {run.path.name}, {run.why}." for run in unmeasured]
    return notes
