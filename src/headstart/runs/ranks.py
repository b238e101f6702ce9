"""Processes that train together: where one fails, its error is the run's, and no other waits for it.

A process in a collective operation waits for the others, with some backends for half an hour, and can neither be
interrupted nor told anything. So each that fails, or is asked to stop, leaves a note in the run's folder, and in each a
thread looks for notes, for signals that the main thread does not hear, and, in that with rank 0, for processes that
ended without a note. Imports no torch.
"""

from __future__ import annotations

import _thread
import json
import multiprocessing
import os
import platform
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from headstart.errors import UserError
from headstart.records.record import RunRecord
from headstart.replacing import replacing
from headstart.runs.parent import PARENT, of_this_process
from headstart.runs.reserve import write_end
from headstart.runs.stopping import INTERRUPTED, TOLD, SignalPipe, stops_interrupt
from headstart.say import is_main_process

EVERY_SECONDS = 0.5
PATIENCE_SECONDS = 10
"""For the process with rank 0 to write down the error of another."""
STOP_SECONDS = 15
"""From the signal to the end in order; a process that has not come to it is ended where it is. Its record says
`interrupted` since it began."""


class LostRank(UserError):
    """One of the processes was ended from outside."""


def described(error: BaseException) -> dict[str, str]:
    """As it stands in the record."""
    return {
        "type": type(error).__name__,
        "message": "\n".join([str(error), *getattr(error, "__notes__", [])]),
        "traceback": "".join(traceback.format_exception(error, limit=-5)),
    }


@contextmanager
def together(folder: Path, record: RunRecord) -> Iterator[None]:
    """Around what the processes do together. Where another one fails, this process ends at once with code 1; that with
    rank 0 first writes `record` with the other's error, and tells it. Where one is asked to stop, all of them are."""
    if is_main_process():
        for note in (*_notes(folder), *folder.glob(".rank-*")):
            note.unlink(missing_ok=True)
        os.environ |= of_this_process()  # those that Lightning starts do not outlive this one, even if it is killed
    with stops_interrupt(), SignalPipe() as signals, _present(folder):
        watch = _Watch(folder, record, signals)
        watch.start()
        try:
            yield
        except Exception as error:
            watch.look_closer(error)
            if _are_several():
                _leave_note(folder, error)
                if not is_main_process():
                    _wait_for_record(folder)
            raise
        except (KeyboardInterrupt, SystemExit):
            watch.is_stopping()  # leaves a note, where the watch has not come to it
            raise
        finally:
            watch.over.set()
            watch.join()


@contextmanager
def _present(folder: Path) -> Iterator[None]:
    """So that the process that started this one knows which one is lost."""
    if is_main_process() or os.environ.get(PARENT) != str(os.getppid()) or not folder.exists():
        yield
        return
    file = folder / f".rank-{_rank()}-{os.getpid()}"
    file.touch()
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


class _Watch(threading.Thread):
    def __init__(self, folder: Path, record: RunRecord, signals: SignalPipe) -> None:
        super().__init__(daemon=True)
        self.folder, self.record, self.signals = folder, record, signals
        self.over = threading.Event()
        self.ends_at: float | None = None
        """When this process, being asked to stop, is ended where it is."""

    def run(self) -> None:
        while not self.over.is_set():
            self.signals.wait(EVERY_SECONDS)
            if not self.is_stopping():
                self._look_at_the_others()
            elif self.ends_at and time.monotonic() > self.ends_at:
                self._end(INTERRUPTED, TOLD)

    def look_closer(self, error: Exception) -> None:
        """Raises what `error`, of this process, is only a consequence of."""
        deadline = time.monotonic() + (2 * EVERY_SECONDS if _are_several() and is_main_process() else 0)
        while True:
            if self.is_stopping() or self._stop_notes():
                self.ends_at = self.ends_at or time.monotonic() + STOP_SECONDS
                raise KeyboardInterrupt from error
            if lost := self._lost():
                raise lost from None
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)

    def is_stopping(self) -> bool:
        if self.signals.stop() and self.ends_at is None:
            self.ends_at = time.monotonic() + STOP_SECONDS
            if _are_several():
                _write(self.folder / f".stopped-{_here()}.json", {})
        return self.ends_at is not None

    def _look_at_the_others(self) -> None:
        if self._stop_notes():
            if not is_main_process():
                self._end(INTERRUPTED)
            number = signal.SIGTERM if callable(signal.getsignal(signal.SIGTERM)) else signal.SIGINT
            _thread.interrupt_main(number)
        elif lost := self._lost():
            self._fail(described(lost) | {"users": True})
        elif not _own_note(self.folder).exists():
            for note in self.folder.glob(".failed-*.json"):
                self._fail(json.loads(note.read_text()))

    def _stop_notes(self) -> list[Path]:
        return list(self.folder.glob(".stopped-*.json"))

    def _lost(self) -> LostRank | None:
        """A process that this one started, and that a signal ended: it stays one to be waited for (WNOWAIT)."""
        for file in self.folder.glob(".rank-*") if hasattr(os, "waitid") else ():
            rank, pid = file.name.split("-")[1:]
            with suppress(ChildProcessError):
                found = os.waitid(os.P_PID, int(pid), os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if found and found.si_code in (os.CLD_KILLED, os.CLD_DUMPED):
                    return LostRank(_lost_words(rank, pid, found.si_status))
                if found and not _notes(self.folder):
                    return LostRank(f"The process with rank {rank} (pid {pid}) ended with exit code {found.si_status}.")
        return None

    def _fail(self, error: dict[str, Any]) -> NoReturn:
        """Of rank 0, the main thread may be waiting where no exception reaches it."""
        if not is_main_process():
            self._end(1)
        users = error.pop("users")
        self.record.status, self.record.error = "failed", error
        write_end(self.folder, self.record)
        _write(_own_note(self.folder), error | {"users": users})
        told = error["message"] if users else f"{error['type']}: {error['message']}\n{error['traceback']}"
        self._end(1, f"\nheadstart: {told}")

    def _end(self, code: int, words: str = "") -> NoReturn:
        """This process, and what it started, wherever they are."""
        if words and is_main_process():
            print(words, file=sys.stderr, flush=True)
        for worker in multiprocessing.active_children():
            worker.kill()
        for file in self.folder.glob(".rank-*") if hasattr(os, "waitid") else ():
            pid = int(file.name.split("-")[2])
            with suppress(ChildProcessError, ProcessLookupError):
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # of this process, that is
                os.kill(pid, signal.SIGKILL)
        os._exit(code)


def _lost_words(rank: str, pid: str, number: int) -> str:
    name = signal.Signals(number).name
    memory = (
        ""
        if number != signal.SIGKILL
        else " Where nobody did that, it was the system, for want of memory: a smaller "
        "dataset.batch_size, dataset.cache=none, dataset.num_workers=0 or fewer trainer.devices need less."
    )
    return (
        f"The process with rank {rank} (pid {pid}) was ended by signal {number} ({name}).{memory} The same command "
        "goes on after the last complete epoch."
    )


def _are_several() -> bool:
    """By what torchrun (RANK), Lightning (LOCAL_RANK, when it starts the others) or Slurm set, and do not take away."""
    return "RANK" in os.environ or "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", 1)) > 1


def _rank() -> str:
    return next((os.environ[name] for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if name in os.environ), "0")


def _notes(folder: Path) -> list[Path]:
    return sorted([*folder.glob(".failed-*.json"), *folder.glob(".stopped-*.json")])


def _here() -> str:
    return f"{platform.node()}-{os.getpid()}"


def _own_note(folder: Path) -> Path:
    return folder / f".failed-{_here()}.json"


def _leave_note(folder: Path, error: Exception) -> None:
    _write(_own_note(folder), described(error) | {"users": isinstance(error, UserError)})


def _write(file: Path, content: Mapping[str, object]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)  # rank 0 may not have come to it
    with replacing(file) as path:
        path.write_text(json.dumps(content))


def _wait_for_record(folder: Path) -> None:
    """Ends this process where rank 0 has told its error. Before, its end would be what the others see of it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with suppress(UserError):
            if RunRecord.read(folder / "record.json").status == "failed":
                os._exit(1)
        time.sleep(EVERY_SECONDS)
