"""The cells of a study as jobs of another launcher: submitit, ray. Imports no torch, and none of them.

Such a job does not train: it starts the run as a process of its own, as Headstart's launcher does on one machine, and
waits for it. What a launcher does to its jobs (pickling, start methods, daemons) thus never reaches a training.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.runs.attempt import monitored, why_failed
from headstart.runs.lock import BUSY, is_busy
from headstart.runs.parent import GRACE_SECONDS, of_this_process
from headstart.study.places import Places
from headstart.study.pool import Job, Pool, finished_record
from headstart.study.processes import kill_group, start_logged
from headstart.study.resources import variables

LOOK_SECONDS = 1.0
"""How often a job looks whether its run has ended, or shall end."""

Prepare = Callable[[Job, "CellTask"], Callable[[], Mapping[str, Any]]]
"""Gives what has the other launcher run the task, waits, and returns what the task did."""


@dataclass(frozen=True)
class CellTask:
    """What the other launcher runs, on a machine that sees the same disk. It is pickled: plain values only."""

    words: tuple[str, ...]
    folder: Path
    log: Path
    directory: Path
    """Where the user gave the command: relative paths count from there."""
    environment: Mapping[str, str]
    places: int
    """Runs that share the machine."""
    processes: Any
    monitor: str

    def __call__(self, _config: Any = None) -> dict[str, Any]:
        """`status`, `reason` and `value` as in `CellResult`; never raises for a run that fails."""
        try:
            while (code := self._train()) == BUSY:
                while is_busy(self.directory / self.folder):
                    time.sleep(LOOK_SECONDS)
        except Exception as error:  # of the disk, or of the launcher: submitit raises where the time is up
            return _end("failed", f"{type(error).__name__}: {error}")
        if code is None:
            return _end("stopped")
        record = finished_record(self.directory / self.folder)
        if code == 0 and record:
            return _end("finished", value=monitored(record, self.monitor))
        return _end("failed", why_failed(self.directory / self.folder, code))

    def _train(self) -> int | None:
        """The run's exit code; None where the study wants it to end. It does not outlive the job."""
        process = start_logged(self.words, self.directory / self.log, self._environment(), self.directory)
        try:
            while process.poll() is None and not stop_file(self.directory / self.log).exists():
                time.sleep(LOOK_SECONDS)
            return process.poll()
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
            kill_group(process)

    def _environment(self) -> Mapping[str, str]:
        found = {**os.environ, **self.environment, **of_this_process()}
        if "SLURM_JOB_ID" in found:
            # Lightning's word for: start the processes yourself, on this node; the job is one task.
            found["SLURM_JOB_NAME"] = "bash"
        return {**found, **variables(self.places, [], self.processes)}


def _end(status: str, reason: str = "", value: float | None = None) -> dict[str, Any]:
    return {"status": status, "reason": reason, "value": value}


def stop_file(log: Path) -> Path:
    """While it is there, the run that writes this log shall end: the one message that every launcher carries."""
    return log.with_suffix(".stop")


@dataclass
class _HandedOver:
    """In place of a process: a job in the hands of the other launcher, and a thread that waits for it."""

    submit: Callable[[], Mapping[str, Any]]
    job: Job
    found: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        stop_file(self.job.log).unlink(missing_ok=True)
        self.thread = threading.Thread(target=self._wait, daemon=True)  # Ctrl-C does not wait for it
        self.thread.start()

    def _wait(self) -> None:
        # Inherited by what the launcher starts: Ctrl-C is for the study, which ends its jobs in order.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.found = self.submit()
        except Exception as error:  # the job is lost: killed, out of time, its node gone
            self.found = _end("failed", f"its job is lost: {type(error).__name__}: {_last_line(error)}")

    def terminate(self) -> None:
        stop_file(self.job.log).touch()


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


class ForeignPool(Pool):
    """As `Pool`, with jobs of another launcher in place of processes; `places` jobs are in its hands at a time."""

    def __init__(
        self,
        jobs: Sequence[Job],
        places: Places,
        study: str,
        tell: Callable[[Job | None], None],
        prepare: Prepare,
        share_machine: bool,
    ) -> None:
        super().__init__(jobs, places, study, tell)
        self.prepare, self.sharing = prepare, places.number if share_machine else 1

    def _begin(self, job: Job, place: int) -> _HandedOver:
        ours = {name: text for name, text in self.environment.items() if name.startswith("HEADSTART_")}
        task = CellTask(
            tuple(job.words), job.folder, job.log, Path.cwd(), ours, self.sharing, job.processes, job.monitor
        )
        return _HandedOver(self.prepare(job, task), job)

    def _conclude(self) -> None:
        for running in list(self.running):
            job, handed = running.job, running.process
            job.seconds = time.monotonic() - running.started
            if handed.thread.is_alive():
                self._read_history(running)
                continue
            self.running.remove(running)
            stop_file(job.log).unlink(missing_ok=True)
            job.status, job.reason, job.value = handed.found["status"], handed.found["reason"], handed.found["value"]
            self.tell(job)

    def _end_all(self) -> None:
        """Jobs still in the queue end as soon as they start."""
        for running in self.running:
            running.process.terminate()
