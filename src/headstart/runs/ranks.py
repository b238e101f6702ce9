"""Processes that train together: where one fails, its error is the run's, and no other waits for it.

A process in a collective operation waits for the others, with some backends for half an hour, and can neither be
interrupted nor told anything. So each that fails leaves a note in the run's folder, and in each a thread looks for
notes. Imports no torch.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from headstart.errors import UserError
from headstart.records.record import RunRecord
from headstart.replacing import replacing
from headstart.runs.parent import of_this_process
from headstart.say import is_main_process

EVERY_SECONDS = 0.5
PATIENCE_SECONDS = 10
"""For the process with rank 0 to write down the error of another."""


def described(error: Exception) -> dict[str, str]:
    """As it stands in the record."""
    return {
        "type": type(error).__name__,
        "message": "\n".join([str(error), *getattr(error, "__notes__", [])]),
        "traceback": "".join(traceback.format_exception(error, limit=-5)),
    }


def reserve(folder: Path) -> None:
    """Room on the disk for what the record says at the end, which may be that the disk is full."""
    _reserved(folder).write_bytes(bytes(1 << 18))


def write_end(folder: Path, record: RunRecord) -> None:
    with suppress(OSError):
        _reserved(folder).unlink(missing_ok=True)
    record.write(folder / "record.json")


def _reserved(folder: Path) -> Path:
    return folder / ".reserved"


@contextmanager
def together(folder: Path, record: RunRecord) -> Iterator[None]:
    """Around what the processes do together. Where another one fails, this process ends at once with code 1; that with
    rank 0 first writes `record` with the other's error, and tells it."""
    if is_main_process():
        for note in _notes(folder):
            note.unlink(missing_ok=True)
        os.environ |= of_this_process()  # those that Lightning starts do not outlive this one, even if it is killed
    stop = threading.Event()
    tell = (lambda error: _fail(folder, record, error)) if is_main_process() else _leave
    threading.Thread(target=_watch, args=(folder, stop, tell), daemon=True).start()
    try:
        yield
    except Exception as error:
        if _are_several():
            _leave_note(folder, error)
            if not is_main_process():
                _wait_for_record(folder)
        raise
    finally:
        stop.set()


def _are_several() -> bool:
    """By what torchrun (RANK), Lightning (LOCAL_RANK, when it starts the others) or Slurm set, and do not take away."""
    return "RANK" in os.environ or "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", 1)) > 1


def _notes(folder: Path) -> list[Path]:
    return sorted(folder.glob(".failed-*.json"))


def _own_note(folder: Path) -> Path:
    return folder / f".failed-{platform.node()}-{os.getpid()}.json"


def _leave_note(folder: Path, error: Exception) -> None:
    folder.mkdir(parents=True, exist_ok=True)  # rank 0 may not have come to it
    with replacing(_own_note(folder)) as path:
        path.write_text(json.dumps(described(error) | {"users": isinstance(error, UserError)}))


def _watch(folder: Path, stop: threading.Event, tell: Callable[[dict[str, str]], None]) -> None:
    while not stop.wait(EVERY_SECONDS):
        for note in _notes(folder):
            if note != _own_note(folder) and not _own_note(folder).exists():
                tell(json.loads(note.read_text()))


def _fail(folder: Path, record: RunRecord, error: dict[str, str]) -> NoReturn:
    """Rank 0: its main thread may be waiting where no exception reaches it."""
    users = error.pop("users")
    record.status, record.error = "failed", error
    write_end(folder, record)
    told = error["message"] if users else f"{error['type']}: {error['message']}\n{error['traceback']}"
    print(f"\nheadstart: {told}", file=sys.stderr, flush=True)
    os._exit(1)


def _leave(error: dict[str, str]) -> NoReturn:
    os._exit(1)


def _wait_for_record(folder: Path) -> None:
    """Ends this process where rank 0 has told its error. Before, its end would be what the others see of it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with suppress(UserError):
            if RunRecord.read(folder / "record.json").status == "failed":
                os._exit(1)
        time.sleep(EVERY_SECONDS)
