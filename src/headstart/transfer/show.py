"""Plan and load report as the user sees them before training."""

from __future__ import annotations

from rich import box
from rich.table import Table

from headstart.transfer.types import LoadReport, StagePlan, TransferPlan


def report_table(report: LoadReport) -> Table:
    """What the source gave."""
    table = Table(title="Source", title_justify="left", box=box.SIMPLE_HEAD, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for what, value in report.as_rows():
        table.add_row(what, value)
    return table


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
    for stage in plan.stages:
        table.add_row(*_cells(stage))
    return table


def _cells(stage: StagePlan) -> tuple[str, ...]:
    rate = "frozen" if stage.lr is None else f"{stage.lr:g}"
    return stage.stage, f"{stage.parameters:,}", f"{stage.trainable:,}", rate, stage.norm
