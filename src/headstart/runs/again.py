"""A run that was begun before: whether it stands for what is asked now, is gone on with, or is set aside."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from headstart.config.schema import OnChange, RunConfig
from headstart.errors import UserError
from headstart.records.record import RunRecord
from headstart.runs.attempt import Changed, last_checkpoint, record_in, set_aside
from headstart.runs.began import STARTED, is_older, now
from headstart.runs.changes import arithmetic_changes, cost_changes, data_changes, small_changes, source_changes
from headstart.runs.inputs import input_stamp, same_inputs, write_inputs, write_refusal
from headstart.say import is_main_process, say


def set_aside_older(config: RunConfig, folder: Path) -> None:
    """With `rerun`: whatever is there of the run and was begun before this command, or the study that it belongs to.

    So a rerun that is interrupted is gone on with, and one that two studies ask for is done once.
    """
    if not config.rerun or not is_main_process() or not folder.exists():
        return
    if is_older(record_in(folder), os.environ.get(STARTED) or now()):
        say(f"rerun=true: what was there is in {set_aside(folder)}")


def finished_before(config: RunConfig, folder: Path, start: Callable[[], RunRecord]) -> RunRecord | None:
    """The record of a run that needs no doing; None where it is to be done.

    `start` reads data and source, as `describe_start` gives them; it is called only where a file may have changed.
    Raises `UserError` where they are others than the run's, unless `on_change` says what to do.
    """
    record = _finished(folder) if is_main_process() else None
    if record is None or same_inputs(config, folder):
        return record
    stamp = input_stamp(config)
    try:
        found = start()
        changes = [*data_changes(record.dataset, found.dataset), *source_changes(record.load, found.load)]
        if not changes:
            write_inputs(folder, _known(stamp, found))
        elif config.on_change is OnChange.error:
            raise Changed(_message(folder, "was finished", changes, "on_change=keep keeps its result"))
    except UserError as error:
        write_refusal(folder, str(error))
        raise
    return _kept_or_not(config, folder, record, changes)


def begin(config: RunConfig, folder: Path, record: RunRecord, start: RunRecord, stamp: str) -> None:
    """Writes what is known before the first step into the record, and to the disk.

    Where the run goes on, this must be what it was begun with: raises `UserError` otherwise, unless `on_change` says
    what to do.
    """
    main = is_main_process()
    changes = _accepted(config, folder, record, start) if main and last_checkpoint(folder).exists() else []
    own = ("attempts", "study", "job", "directory")
    kept = {name: record.environment[name] for name in own if name in record.environment}
    if main and not folder.exists():  # set aside
        folder.mkdir()
        kept["attempts"] = kept["attempts"][-1:]
    for name in ("dataset", "load", "plan", "lineage", "cost", "metrics"):
        setattr(record, name, getattr(start, name))
    record.environment = start.environment | kept | {"changes": changes}
    if main:
        write_inputs(folder, _known(stamp, start))
        record.write(folder / "record.json")


def _finished(folder: Path) -> RunRecord | None:
    path = folder / "record.json"
    if not path.exists():
        return None
    try:
        record = RunRecord.read(path)
    except UserError as error:
        raise UserError(f"{error} Or rerun=true sets its folder aside and starts anew.") from None
    return record if record.status == "finished" else None


def _kept_or_not(config: RunConfig, folder: Path, record: RunRecord, changes: Sequence[str]) -> RunRecord | None:
    if changes and config.on_change is OnChange.restart:
        say(f"{_since(folder, 'was finished', changes)}: on_change=restart, it is in {set_aside(folder)}")
        return None
    if changes:
        say(f"{_since(folder, 'was finished', changes)}: on_change=keep, its result stays as it is.")
    return record


def _accepted(config: RunConfig, folder: Path, record: RunRecord, start: RunRecord) -> list[str]:
    """All that changed between the run's attempts, where it goes on or its folder was set aside."""
    inputs = [*data_changes(record.dataset, start.dataset), *source_changes(record.load, start.load)]
    arithmetic = arithmetic_changes(record.environment, start.environment) if record.environment.get("device") else []
    changes = [*inputs, *arithmetic]
    if changes and config.on_change is OnChange.restart:
        say(f"{_since(folder, 'was begun', changes)}: on_change=restart, it is in {set_aside(folder)}")
        return []
    if inputs or (arithmetic and config.on_change is OnChange.error):
        restore = "a run that goes on would mix the two; or restore what was there, and the same command goes on"
        keep = "on_change=keep goes on with it"
        raise Changed(_message(folder, "was begun", changes, restore if inputs else keep))
    small = small_changes(record.environment, start.environment)
    if noted := [*arithmetic, *small]:
        say(f"{_since(folder, 'was begun', noted)}: it will not equal an undisturbed run to the last bit.")
    if cost := cost_changes(record.environment, start.environment):
        say(f"{_since(folder, 'was begun', cost)}: the batches are the same.")
    return [*record.environment.get("changes", []), *noted]


def _message(folder: Path, what: str, changes: Sequence[str], otherwise: str) -> str:
    """In one line: a study shows the first."""
    return (
        f"{_since(folder, what, changes)}. on_change=restart sets it aside (in {folder.parent / '.replaced'}) and "
        f"starts anew; {otherwise}."
    )


def _since(folder: Path, what: str, changes: Sequence[str]) -> str:
    return f"Since {folder} {what}: {'; '.join(changes)}"


def _known(stamp: str, start: RunRecord) -> str:
    """Images outside of the data set's folder are in no stamp: with them the data is read each time."""
    return "" if start.dataset["outside"] else stamp
