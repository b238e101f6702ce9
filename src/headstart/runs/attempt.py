"""One attempt at a run: whatever happens to it, its record says so."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart.config.schema import RunConfig
from headstart.errors import UserError
from headstart.records.environment import environment
from headstart.records.record import SCHEMA_VERSION, RunRecord
from headstart.runs.began import command, now
from headstart.runs.identity import model_name
from headstart.runs.inputs import read_refusal
from headstart.runs.ranks import described, together
from headstart.runs.reserve import reserve, write_end
from headstart.say import is_main_process


class Changed(UserError):
    """The run was begun on other data, from other weights or in other arithmetic."""


def set_aside(folder: Path) -> Path:
    """Out of the way, never deleted; where it lies now."""
    aside = folder.parent / ".replaced" / f"{folder.name}-{time.time_ns()}"
    aside.parent.mkdir(exist_ok=True)
    folder.rename(aside)
    return aside


def last_checkpoint(folder: Path) -> Path:
    """From which the run goes on, where it is there."""
    return folder / "checkpoints" / "last.ckpt"


@contextmanager
def attempt(folder: Path, config: RunConfig, resolved: dict[str, Any]) -> Iterator[RunRecord]:
    """Writes the record at the start and at the end.

    From the first moment it says `interrupted`: a process that is killed can say nothing more. The body fills the
    record; what it raises is recorded and raised again. Where the run goes on, the record says what it was begun
    with, until the body knows that this still holds.
    """
    goes_on = last_checkpoint(folder).exists()
    record = replace(
        _begun_before(folder) if goes_on else RunRecord(environment=environment()),
        status="interrupted",
        choices=choices(config),
        config=resolved,
        error=None,
    )
    record.environment |= {"attempts": [*_attempts_before(folder), now()], **command(), **_directory(config)}
    if is_main_process():
        _begin(folder, config, record)
    try:
        with together(folder, record), _telling_what_is_kept(folder, goes_on):
            yield record
        record.status = "finished"
    except SystemExit as stop:  # so Lightning leaves after Ctrl-C, and after SIGTERM with the code of success
        raise KeyboardInterrupt from stop
    except Exception as error:
        record.status = "failed"
        record.error = described(error)
        raise
    finally:
        if is_main_process():
            _end(folder, record, sys.exception())


@contextmanager
def _telling_what_is_kept(folder: Path, goes_on: bool) -> Iterator[None]:
    """To an error its note, before any process tells another of it."""
    try:
        yield
    except Exception as error:
        last = last_checkpoint(folder)
        if goes_on and not isinstance(error, Changed):
            error.add_note(f"It went on from {last}: where that fails again, rerun=true starts anew.")
        elif last.exists() and not isinstance(error, Changed):
            error.add_note(f"The last complete epoch is kept in {last}: the same command goes on from there.")
        raise


def _directory(config: RunConfig) -> dict[str, str]:
    """Where the command was given, if the data is found from there alone: a relative `output_dir` says it, too, and
    goes on doing so where all is moved or copied."""
    root = getattr(config.dataset, "root", None)
    output_dir = os.path.normpath(config.output_dir)
    says_it = not os.path.isabs(output_dir) and not output_dir.startswith("..")
    if root is None or os.path.isabs(os.path.expanduser(root)) or says_it:
        return {}
    return {"directory": os.getcwd()}


def record_in(folder: Path) -> RunRecord | None:
    """None where there is none, or one that is of no use."""
    try:
        return RunRecord.read(folder / "record.json")
    except UserError:
        return None


def monitored(record: RunRecord, monitor: str) -> float | None:
    """What `monitor.name` is for the exported weights: `val/map` is `metrics["val"]["map"]`."""
    split, _, metric = monitor.partition("/")
    value = record.metrics.get(split, {}).get(metric)
    return float(value) if value is not None else None


def why_failed(folder: Path, code: int) -> str:
    """The first line of what the run's record says went wrong; where it got to no record of it, the exit code."""
    ended = f"exit code {code}" if code >= 0 else f"ended by signal {-code} ({signal.Signals(-code).name})"
    record = record_in(folder)
    if record is not None and record.status == "finished":
        return read_refusal(folder) or ended
    if record is None or record.status != "failed" or record.error is None:
        return ended
    message = record.error["message"].splitlines()
    return f"{record.error['type']}: {message[0] if message else ''}"


def _attempts_before(folder: Path) -> list[str]:
    """When the run was begun, and gone on with."""
    record = record_in(folder)
    return list(record.environment.get("attempts", [])) if record else []


def _begun_before(folder: Path) -> RunRecord:
    """The record of the run that is gone on with; an empty one where there is none that says what it was begun with."""
    record = record_in(folder)
    return record if record is not None and record.schema_version == SCHEMA_VERSION else RunRecord()


def _begin(folder: Path, config: RunConfig, record: RunRecord) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        record.write(folder / "record.json")
        reserve(folder)
    except OSError as error:
        raise UserError(f"output_dir={config.output_dir}: {folder} cannot be written ({error}).") from error


def _end(folder: Path, record: RunRecord, raised: BaseException | None) -> None:
    """What ended the run is told even where its record cannot say it."""
    try:
        write_end(folder, record)
    except UserError as error:
        if raised is None:
            raise
        raised.add_note(str(error))


def choices(config: RunConfig) -> dict[str, Any]:
    """What distinguishes this run from its neighbours in a study."""
    return {
        "dataset": config.dataset.name,
        "model": model_name(config.model),
        "backbone": config.backbone.name,
        "source": config.source.name,
        "strategy": config.strategy.name,
        "seed": config.seed,
        "fraction": config.dataset.fraction,
        "shots": config.dataset.shots,
    }
