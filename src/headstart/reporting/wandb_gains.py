"""Transfer gain, written into the summary of each run in W&B. Imports no torch."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from headstart.records.record import RunRecord
from headstart.reporting.comparison import Comparison
from headstart.reporting.rows import Question
from headstart.reporting.run_gains import run_gains
from headstart.wandb_client import PROJECT

AT_A_TIME = 100
"""Runs that one query names."""

Gains = dict[str, dict[str, float]]
"""Id of a run, which is the name of its folder -> what its summary gets."""


def gain_key(question: Question) -> str:
    """`transfer_gain/val/map`, beside a run's own `best/val/map`."""
    return f"transfer_gain/{question.split}/{question.metric}"


def logged_with(record: RunRecord) -> dict[str, str | None] | None:
    """Project, entity and group of a run; None where it was not logged to W&B."""
    found = (record.config.get("logger") or {}).get("wandb")
    if found is None:
        return None
    return {"project": found.get("project") or PROJECT, "entity": found.get("entity"), "group": found.get("group")}


def write_gains(comparison: Comparison, entity: str) -> str:
    """Writes them where the runs are finished and known to the server; `entity` is that of runs without one.

    Gives the line that says how many, and where W&B refuses, why. Never raises: the comparison is more than this.
    """
    wanted = _wanted(comparison, entity)
    number = sum(map(len, wanted.values()))
    if not number:
        return (
            "W&B: no run has a transfer gain to write: it needs runs logged to W&B, and some from scratch beside them."
        )
    try:
        written = sum(_write(path, gains) for path, gains in wanted.items())
    except Exception as error:  # the client's own, pydantic's, TypeError: whatever a server's answer makes of it
        return f"Warning: W&B: transfer gain was not written into the runs ({type(error).__name__}: {error})."
    missing = f"; {number - written} are not finished there: wandb sync them, then compare again" * (written < number)
    return f"W&B: transfer gain written into the summary of {written} of {number} runs{missing}."


def _wanted(comparison: Comparison, entity: str) -> dict[str, Gains]:
    """By `entity/project`."""
    wanted: dict[str, Gains] = defaultdict(dict)
    for target in comparison.targets:
        gains, key = run_gains(target), gain_key(target.question)
        for path, record in (run for arm in target.arms for run in arm.runs):
            if path in gains and (logged := logged_with(record)) is not None:
                wanted[f"{logged['entity'] or entity}/{logged['project']}"][path.name] = {key: gains[path]}
    return wanted


def _write(path: str, gains: Gains) -> int:
    """How many runs were there to write to."""
    import wandb

    api, ids, written = wandb.Api(), sorted(gains), 0
    for start in range(0, len(ids), AT_A_TIME):
        run: Any
        for run in api.runs(path, filters={"name": {"$in": ids[start : start + AT_A_TIME]}}, lazy=False):
            if run.state == "finished":  # a summary is written as a whole: one that still changes would lose numbers
                run.summary.update(gains[run.id])
                written += 1
    return written
