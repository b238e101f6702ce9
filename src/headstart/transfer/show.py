"""Plan and load report as the user sees them before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from headstart.data.types import Size
from headstart.transfer.types import LoadReport, StagePlan, TransferPlan


def report_table(report: LoadReport, seen: Size | None, here: Size) -> Table:
    """What the source gave; of which pictures it learned, where that is known, and what is other `here`."""
    table = Table(title="Source", title_justify="left", box=box.SIMPLE_HEAD, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    pictures = [("pictures", _pictures(seen, here))] if seen else []
    for what, value in [*report.as_rows(), *pictures]:
        table.add_row(what, value)
    return table


def _pictures(seen: Size, here: Size) -> str:
    """A source learned shapes as it saw them: where they were stretched, or are, it is told how to have the same."""
    if seen == here:
        return f"{seen}, as here"
    remedy = f"dataset.resize={seen.resize.value} dataset.min_size={seen.min_size} dataset.max_size={seen.max_size}"
    other_shapes = f"; to see shapes as it did: {remedy}" if seen.resize is not here.resize else ""
    return f"{seen}; here {here}{other_shapes}"


def plan_table(plan: TransferPlan) -> Table:
    """What trains, stage by stage; the notes below it."""
    total, trained = sum(stage.parameters for stage in plan.stages), plan.trained_parameters
    table = Table(
        title=f"Plan: {plan.strategy}, {trained / total:.0%} of the parameters train",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_footer=True,
        caption="\n".join(f"- {note}" for note in plan.notes) or None,
        caption_justify="left",
    )
    table.add_column("stage", "all")
    table.add_column("parameters", f"{total:,}", justify="right")
    table.add_column("training", f"{trained:,}", justify="right")
    table.add_column("rate", justify="right")
    table.add_column("normalisation")
    if len(plan.phases) > 1:
        table.add_column("from epoch", justify="right")
    for stage in plan.stages:
        table.add_row(*_cells(stage)[: len(table.columns)])
    return table


def _cells(stage: StagePlan) -> tuple[str, ...]:
    rate = "frozen" if stage.lr is None else f"{stage.lr:.5g}"
    start = "-" if stage.start_epoch is None else str(stage.start_epoch + 1)
    return stage.stage, f"{stage.parameters:,}", f"{stage.trainable:,}", rate, stage.norm, start


def mixture_table(rows: Sequence[Mapping[str, float]]) -> Table:
    """mAP along the way from the source's weights to the fine-tuned ones."""
    with_source = "source_map" in rows[0]
    table = Table(title="Mixtures of source (0) and result (1)", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("share", "mAP", *(["mAP of the source's images"] if with_source else []), ""):
        table.add_column(column, justify="right" if column else "left")
    for row in rows:
        numbers = [row["map"], *([row["source_map"]] if with_source else [])]
        table.add_row(f"{row['alpha']:g}", *(f"{n:.3f}" for n in numbers), "kept" if row["kept"] else "")
    return table
