"""The cells of a study, each as a process of its own: no cell can spoil another, or end the study."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict
from rich.console import Console

from headstart.config.checks import check
from headstart.config.resolve import resolved_dict, typed
from headstart.config.schema import RunConfig
from headstart.errors import UserError
from headstart.records.record import RunRecord
from headstart.study.attempt import choices
from headstart.study.identity import run_folder

console = Console(soft_wrap=True, highlight=False)


@dataclass(frozen=True)
class Cell:
    """How one combination ended."""

    overrides: tuple[str, ...]
    status: str
    """`finished`, `failed` or `not applicable`."""
    reason: str = ""


def launch(
    context: HydraContext, config: DictConfig, job_overrides: Sequence[Sequence[str]], first: int
) -> list[JobReturn]:
    """Runs every cell, one after another, and says at the end which failed.

    A misspelt choice in any cell ends the study before the first one starts. Raises `UserError` at the end when a
    cell failed, so that the exit code says so.
    """
    composed = [_compose(context, config, overrides) for overrides in job_overrides]
    cells = []
    for number, (overrides, cell) in enumerate(zip(job_overrides, composed, strict=True), start=first + 1):
        console.rule(f"{number}/{first + len(job_overrides)}  {' '.join(overrides)}", align="left")
        cells.append(_run_cell(config, tuple(overrides), cell))
    _summarise(cells)
    return [_job_return(cell) for cell in cells]


def _compose(context: HydraContext, config: DictConfig, overrides: Sequence[str]) -> RunConfig:
    """The cell's configuration, whether or not its settings go together; what is misspelt is an error."""
    composed = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(composed):
        del composed["hydra"]
    return typed(composed, RunConfig)


def _run_cell(config: DictConfig, overrides: tuple[str, ...], cell: RunConfig) -> Cell:
    resolved = resolved_dict(cell)
    path = run_folder(cell, resolved) / "record.json"
    try:
        check(cell)
    except UserError as error:
        console.print(f"not applicable: {error}")
        _record_refusal(cell, resolved, path, error)
        return Cell(overrides, "not applicable", str(error))
    finished = subprocess.run(_command(config, overrides), check=False)
    if finished.returncode:
        return Cell(overrides, "failed", _reason(path) or f"exit code {finished.returncode}")
    return Cell(overrides, "finished")


def _record_refusal(cell: RunConfig, resolved: dict[str, Any], path: Path, error: UserError) -> None:
    """So that a comparison can say why the cell is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    what = {"type": type(error).__name__, "message": str(error)}
    RunRecord(status="not_applicable", choices=choices(cell), config=resolved, error=what).write(path)


def _reason(path: Path) -> str | None:
    """The first line of what the cell's record says went wrong; None where it got to no record of it."""
    try:
        record = RunRecord.read(path)
    except UserError:
        return None
    if record.status != "failed" or record.error is None:
        return None
    return f"{record.error['type']}: {record.error['message'].splitlines()[0] if record.error['message'] else ''}"


def _command(config: DictConfig, overrides: Sequence[str]) -> list[str]:
    """The cell as a single run. User's folders of configuration come from this sweep's search path."""
    command = [sys.executable, "-m", "headstart", "train"]
    for source in config.hydra.runtime.config_sources:
        if source.provider == "command-line":
            command += ["--config-dir", source.path]
    return command + list(overrides)


def _summarise(cells: Sequence[Cell]) -> None:
    console.rule("study", align="left")
    for status in ("finished", "not applicable", "failed"):
        chosen = [cell for cell in cells if cell.status == status]
        console.print(f"{len(chosen)} {status}")
        for cell in chosen if status != "finished" else ():
            console.print(f"  {' '.join(cell.overrides)}: {cell.reason}")
    failed = sum(cell.status == "failed" for cell in cells)
    if failed:
        raise UserError(f"{failed} of {len(cells)} cells failed; the same command runs those again and skips the rest.")


def _job_return(cell: Cell) -> JobReturn:
    result = JobReturn(overrides=list(cell.overrides), status=JobStatus.COMPLETED)
    result.return_value = None
    return result
