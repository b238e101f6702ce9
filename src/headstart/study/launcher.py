"""The cells of a study, each as a process of its own: no cell can spoil another, or end the study."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict
from rich.console import Console

from headstart.config.resolve import resolve
from headstart.errors import UserError

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
    refused = [_refusal(context, config, overrides) for overrides in job_overrides]
    cells = []
    for number, (overrides, reason) in enumerate(zip(job_overrides, refused, strict=True), start=first + 1):
        console.rule(f"{number}/{first + len(job_overrides)}  {' '.join(overrides)}", align="left")
        cells.append(_run_cell(config, tuple(overrides), reason))
    _summarise(cells)
    return [_job_return(cell) for cell in cells]


def _refusal(context: HydraContext, config: DictConfig, overrides: Sequence[str]) -> str | None:
    """Why the combination makes no sense, or None where it does."""
    try:
        composed = context.config_loader.load_sweep_config(config, list(overrides))
        with open_dict(composed):
            del composed["hydra"]
        resolve(composed)
    except UserError as error:
        return str(error)
    return None


def _run_cell(config: DictConfig, overrides: tuple[str, ...], refused: str | None) -> Cell:
    if refused is not None:
        console.print(f"not applicable: {refused}")
        return Cell(overrides, "not applicable", refused)
    finished = subprocess.run(_command(config, overrides), check=False)
    if finished.returncode:
        return Cell(overrides, "failed", f"exit code {finished.returncode}")
    return Cell(overrides, "finished")


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
