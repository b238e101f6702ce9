"""A comparison as a run of Weights & Biases: tables, plots, the page and a summary. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headstart.config.schema import WandbConfig
from headstart.errors import UserError
from headstart.records.record import RunRecord
from headstart.reporting.advice import advice
from headstart.reporting.comparison import Comparison, Target
from headstart.reporting.rows import Row
from headstart.reporting.wandb_gains import gain_key, logged_with, write_gains
from headstart.reporting.wandb_tables import plots, tables
from headstart.reporting.wandb_workspace import make_workspace
from headstart.visible import masked
from headstart.wandb_client import PROJECT, command_without_secrets, connection, stage_beside, where_to_look

OFFLINE = (
    "Left out offline: the transfer gain in the summary of each run, and the workspace. Sync the runs, then compare "
    "again with wandb=true when logged in (wandb login)."
)


def log_comparison(comparison: Comparison, config: WandbConfig, report: Path) -> list[str]:
    """Logs everything, with `report` (report.html) beside which W&B's own files go; gives the lines for the user.

    Online it also writes each run's transfer gain into that run's summary, and makes a workspace.
    Raises `UserError` where W&B does not take it.
    """
    import wandb
    import wandb.errors

    mode: Any = connection(config.mode)
    if mode == "disabled":
        return ["W&B: nothing is logged, WANDB_MODE=disabled."]
    stage_beside(report.parent)
    identity = _identity(comparison, config, report)
    try:
        with command_without_secrets(), wandb.init(mode=mode, dir=report.parent, **identity) as run:
            run.log({**tables(comparison), **plots(comparison), "report": wandb.Html(str(report), inject=False)})
            run.summary.update(summary(comparison))
            lines, offline, entity, project = [where_to_look(run)], run.offline, run.entity, run.project
    except wandb.errors.Error as error:
        raise UserError(
            f"wandb=true: the comparison is written, but W&B does not take it ({error}). Log in with wandb login, or "
            "give wandb_run.mode=offline and wandb sync it later."
        ) from None
    if offline:
        return [*lines, OFFLINE]
    return [*lines, write_gains(comparison, entity), make_workspace(comparison, entity, project, run.group or None)]


def _identity(comparison: Comparison, config: WandbConfig, report: Path) -> dict[str, Any]:
    """The arguments of `wandb.init` that say what the run is."""
    import wandb

    group = config.group or _shared(comparison, "group")
    return {
        "project": config.project or _shared(comparison, "project") or PROJECT,
        "entity": config.entity or _shared(comparison, "entity"),
        "group": group,
        "job_type": "compare",
        "name": f"compare-{group or report.parent.absolute().name}",
        "tags": masked(config.tags),
        "notes": masked(config.notes),
        "config": settings(comparison),
        "settings": wandb.Settings(silent=True, console="off", x_disable_stats=True),
    }


def _shared(comparison: Comparison, key: str) -> str | None:
    """What all runs that were logged to W&B have there; None where they differ."""
    found = {logged[key] for _, record in _runs(comparison) if (logged := logged_with(record)) is not None}
    return found.pop() if len(found) == 1 else None


def _runs(comparison: Comparison) -> Iterator[tuple[Path, RunRecord]]:
    return (run for target in comparison.targets for arm in target.arms for run in arm.runs)


def settings(comparison: Comparison) -> dict[str, Any]:
    """What was asked, and of what; flat, as W&B groups by it."""
    question = comparison.question
    return {
        "metric": question.metric,
        "split": ",".join(comparison.splits),
        "cost": question.cost,
        "pooled_by": ",".join(question.group) or None,
        "baseline": ",".join(f"{name}={word}" for name, word in (question.baseline or {}).items()) or None,
        "targets": [target.name for target in comparison.targets],
        "runs": sum(1 for _ in _runs(comparison)),
        "left_out": len(comparison.left_out) + len(comparison.unmeasured),
    }


def summary(comparison: Comparison) -> dict[str, float | str]:
    """Per target: the best metric and arm, the best transfer gain, and the advice."""
    found: dict[str, float | str] = {}
    for target in comparison.targets:
        found[f"advice/{target.name}"] = advice(target)
        best = f"best/{target.question.split}/{target.question.metric}"
        if target.rows and target.rows[0].values:
            found |= {f"{best}/{target.name}": target.rows[0].mean, f"best/arm/{target.name}": target.rows[0].arm.name}
        if (row := _best_transfer(target)) is not None and row.gain is not None:
            found[f"{gain_key(target.question)}/{target.name}"] = row.gain.mean
    return found


def _best_transfer(target: Target) -> Row | None:
    """The best arm that has a counterpart from scratch: what transfer is worth where it is done well."""
    return next((row for row in target.rows if row.gain is not None), None)
