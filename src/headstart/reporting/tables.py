"""A comparison as tables for a terminal of 80 columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from headstart.reporting.advice import advice
from headstart.reporting.comparison import Comparison, Target
from headstart.reporting.costs import Reach
from headstart.reporting.matrix import make_matrix
from headstart.reporting.notes import heading, notes
from headstart.reporting.retention import retention
from headstart.reporting.rows import Row
from headstart.reporting.statistics import Difference
from headstart.reporting.verdicts import MOST_SEEDS, Judged

MOST_ROWS = 25
"""Of a target, in the terminal."""

STYLES = {"better": "green", "worse": "red", "not distinguishable": "dim"}


def terminal(comparison: Comparison) -> RenderableType:
    """Every target's tables and advice, then the matrix, and what was left out."""
    parts: list[RenderableType] = [part for target in comparison.targets for part in _target(target)]
    if (matrix := _matrix(comparison)) is not None:
        parts += [Text("\nSource by target (the best strategy of each)", style="bold"), matrix]
    parts += [Text(f"\n{note}") for note in notes(comparison)]
    return Group(*parts)


def _target(target: Target) -> Iterator[RenderableType]:
    yield Text(f"\n{target.name}", style="bold").append(f", {target.question.split} images", style="not bold dim")
    yield Padding(Text(advice(target)), (0, 0, 1, 0))
    rows = target.rows[:MOST_ROWS]
    yield results(target, rows)
    yield from ("", costs(rows))
    if (gains := class_gains(rows)) is not None:
        yield from ("", gains)
    if (kept := retention_table(rows)) is not None:
        yield from ("", kept)
    if target.curves:
        yield from ("", label_table(target))
    if (more := len(target.rows) - len(rows)) > 0:
        yield Text(f"\n{more} more rows are in comparison.csv and report.html.")


def _table(*columns: str, left: int = 1) -> Table:
    """The first `left` columns are text."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), width=None, pad_edge=False, show_edge=False)
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position < left else "right", overflow="fold")
    return table


def results(target: Target, rows: Sequence[Row]) -> Table:
    shares = ["pictures"] if target.family.pictures.count else []
    names = " ".join(_label_names(target))
    table = _table(names, heading(target.question.metric), "n", "difference", *shares, "verdict")
    table.columns[-1].justify = "left"
    for row in rows:
        table.add_row(
            row.arm.name,
            value(row.mean, row.half),
            str(len(row.values)),
            difference(row.difference),
            *(share(row) for _ in shares),
            verdict(row),
        )
    return table


def _label_names(target: Target) -> list[str]:
    """Of choices; a setting stands beside its value."""
    return [name for name in target.rows[0].arm.labels if "." not in name] or ["arm"]


def value(centre: float, half: float | None, signed: bool = False) -> str:
    """`0.420 ± 0.050`; `-` for NaN."""
    if math.isnan(centre):
        return "-"
    return f"{centre:{'+' if signed else ''}.3f}" + ("" if half is None else f" ± {half:.3f}")


def difference(found: Difference | None) -> str:
    return "-" if found is None else value(found.mean, found.half, signed=True)


def share(row: Row) -> str:
    """Of the variance of the difference, or of the mean, that is the pictures': `62 %`; `-` where that is not known."""
    found = (row.difference or row).share_of_pictures
    return "-" if found is None else f"{found:.0%}".replace("%", " %")


def verdict(row: Row) -> Text:
    if not row.values:
        return Text("no number", style="dim")
    words = "the baseline" if row.is_baseline else verdict_words(row.difference)
    text = Text(words, style=STYLES.get(getattr(row.difference, "verdict", ""), "dim"))
    if row.negative_transfer:
        text.append("\nnegative transfer", style="bold red")
    if row.selected:
        text.append(f"\nchosen on these images: {row.selected}", style="not bold yellow")
    return text


def verdict_words(found: Judged | None) -> str:
    """`better`, `not distinguishable (5 more seeds)`."""
    if found is None:
        return "no baseline"
    if found.verdict != "not distinguishable":
        return found.verdict
    if found.pairs == 1:
        return "not distinguishable (1 seed)"
    if (more := found.more_seeds) is not None:
        return f"not distinguishable (~{more} more seeds)"
    if (more := found.more_pictures) is not None:
        return f"not distinguishable (~{more} more pictures)"
    return f"not distinguishable (over {MOST_SEEDS} more seeds)"


def costs(rows: Sequence[Row]) -> Table:
    sources = ["source"] if any(row.source_cost for row in rows) else []
    table = _table("cost", "CPU s", *sources, "wall s", "img/s", "MiB", "trained", "to 90 %", "front")
    for row in rows:
        arm = row.arm
        table.add_row(
            arm.name,
            whole(arm.cost("cpu_seconds")),
            *(from_source(row) for _ in sources),
            whole(arm.cost("wall_seconds")),
            "-" if math.isnan(speed := arm.cost("train_images_per_second")) else f"{speed:.1f}",
            whole(arm.cost("peak_memory_mib")),
            "-" if math.isnan(trained := arm.cost("trained_parameters")) else f"{trained / 1e6:.2f} M",
            reached(row.reach),
            "yes" if row.pareto else "",
        )
    return table


def from_source(row: Row) -> str:
    """CPU seconds of the source's training, the arm's share."""
    return f"+{share:.0f}" if (share := row.source_cost.get("cpu_seconds")) is not None else "-"


def whole(number: float) -> str:
    return "-" if math.isnan(number) else f"{number:.0f}"


def reached(found: Reach) -> str:
    """`85 s`; `85 s (2/3)` where not every run gets there; `never`."""
    if not found.runs:
        return "never" if found.of else "-"
    some = "" if found.runs == found.of else f" ({found.runs}/{found.of})"
    return f"{found.seconds:.0f} s{some}"


def class_gains(shown: Sequence[Row]) -> Table | None:
    """The classes that each arm helps most and least, by their means; None where there is no scratch to tell it."""
    rows = [row for row in shown if row.gain is not None]
    if not rows:
        return None
    table = _table("transfer gain", "over scratch", "most", "least", left=1)
    for column in table.columns[2:]:
        column.justify = "left"
    for row in rows:
        gains = sorted((c.gain.mean, name) for name, c in row.classes.items() if c.gain is not None)
        ends = [f"{name} {gain:+.2f}" for gain, name in (gains[-1:] + gains[:1])] or ["-", "-"]
        style = "bold red" if row.negative_transfer else ""
        table.add_row(row.arm.name, Text(difference(row.gain), style), *ends)
    return table


def retention_table(rows: Sequence[Row]) -> Table | None:
    """None where no run measured it."""
    found = [(row, kept) for row in rows if (kept := retention(row.arm))]
    if not found:
        return None
    table = _table("still known of the source", "on", "before", "after", "retained")
    for row, kept in found:
        after = value(kept.after, kept.half)
        table.add_row(row.arm.name, kept.dataset, value(kept.before, None), after, f"{kept.retained:.0%}")
    return table


def label_table(target: Target) -> Table:
    images = sorted({round(point.images) for curve in target.curves for point in curve.points})
    table = _table("labelled images", *map(str, images))
    for curve in target.curves[:MOST_ROWS]:
        found = {round(point.images): value(point.mean, point.half) for point in curve.points}
        table.add_row(curve.name, *(found.get(count, "-") for count in images))
    return table


def _matrix(comparison: Comparison) -> Table | None:
    if (matrix := make_matrix(comparison)) is None:
        return None
    table = _table("source", *matrix.targets)
    for source in matrix.sources:
        found = [matrix.cells.get((source, target)) for target in matrix.targets]
        table.add_row(
            source,
            *("-" if cell is None else f"{value(cell.row.mean, cell.row.half)}\n{cell.strategy}" for cell in found),
        )
    return table
