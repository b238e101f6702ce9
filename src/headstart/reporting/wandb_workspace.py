"""A workspace of a study in W&B, through wandb-workspaces (an extra). Imports no torch."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from headstart.reporting.comparison import Comparison
from headstart.reporting.wandb_gains import gain_key

CHOICES = ("dataset", "model", "source", "strategy", "fraction", "lr", "seed")
"""Axes of the parallel coordinates, as a run's flat configuration names them."""


def make_workspace(comparison: Comparison, entity: str, project: str, group: str | None) -> str:
    """Saves a view of the runs of `group`, or of all that were trained; gives the line that says where it is.

    Never raises: the comparison is more than its dashboard.
    """
    if importlib.util.find_spec("wandb_workspaces") is None:
        return "W&B: a workspace of the study needs the package wandb-workspaces: pip install 'headstart[workspaces]'"
    try:
        return f"W&B workspace: {_workspace(comparison, entity, project, group).save().url}"
    except Exception as error:  # a public preview, which asks a server: it may fail in any way
        return f"Warning: W&B: no workspace was made ({type(error).__name__}: {error})."


def _workspace(comparison: Comparison, entity: str, project: str, group: str | None) -> Any:
    ws: Any = importlib.import_module("wandb_workspaces.workspaces")

    trained = [ws.Metric("JobType") == "train"]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"Headstart: {group or 'all runs'}",
        sections=[ws.Section(name="Study", panels=_panels(comparison), is_open=True)],
        runset_settings=ws.RunsetSettings(
            filters=trained + ([ws.Metric("Group") == group] if group else []),
            groupby=[ws.Config("source"), ws.Config("strategy")],
        ),
    )


def _panels(comparison: Comparison) -> list[Any]:
    wr: Any = importlib.import_module("wandb_workspaces.reports.v2")

    question = comparison.targets[0].question  # a panel shows one metric of one split
    best, cost, gain = f"best/{question.split}/{question.metric}", f"cost/{question.cost}", gain_key(question)
    axes: list[Any] = [*map(wr.Config, CHOICES), wr.SummaryMetric(cost), wr.SummaryMetric(gain), wr.SummaryMetric(best)]
    return [
        wr.ParallelCoordinatesPlot(columns=[wr.ParallelCoordinatesPlotColumn(metric=axis) for axis in axes]),
        *(
            wr.BarPlot(title=name, metrics=[name], groupby=wr.Config("strategy"), groupby_aggfunc="mean")
            for name in (best, gain)
        ),
        wr.ScatterPlot(title=f"{best} against {cost}", x=wr.SummaryMetric(cost), y=wr.SummaryMetric(best)),
        wr.ParameterImportancePlot(with_respect_to=best),
        wr.RunComparer(diff_only=True),
    ]
