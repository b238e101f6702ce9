"""Runs as processes, so many at a time, each when the run it starts from is there. Imports no torch."""

from __future__ import annotations

import csv
import math
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.records.record import RunRecord
from headstart.runs.attempt import monitored, record_in, why_failed
from headstart.runs.began import STUDY, of_this_study
from headstart.runs.lock import BUSY, is_busy
from headstart.runs.parent import GRACE_SECONDS, of_this_process
from headstart.runs.stopping import stops_interrupt
from headstart.study.places import Places
from headstart.study.processes import kill_group, start_logged
from headstart.study.resources import variables
from headstart.study.warm import start_cell

TICK_SECONDS = 0.2
LOOK_AGAIN_SECONDS = 2.0
"""At runs that another study has."""


@dataclass
class Job:
    """A run of the study, or one that such a run starts from."""

    label: str
    """As the user knows it."""
    words: list[str]
    folder: Path
    overrides: tuple[str, ...] = ()
    """Of the cell, or of one that needs this source: what Hydra composes in a job of another launcher."""
    needs: Path | None = None
    """The folder of the run that it starts from."""
    processes: Any = 1
    """It trains with, as `trainer.devices` says."""
    epochs: int | None = None
    monitor: str = "val/map"
    rerun: bool = False
    unchanged: Callable[[], bool] = lambda: True
    """Whether a finished run read the files that are there; else its process looks at them."""
    kind: str = ""
    """Jobs of one kind take about as long."""
    is_source: bool = False
    watch: Callable[[list[Mapping[str, Any]]], bool] | None = None
    """Is shown the history after each epoch; true ends the job."""
    status: str = "waiting"
    """`waiting`, `elsewhere` (another study has it), `running`, `finished`, `failed`, `stopped`."""
    reason: str = ""
    value: float | None = None
    history: list[Mapping[str, Any]] = field(default_factory=list)
    seconds: float | None = None
    """From its start in this study; of a run that was finished before, what its record says."""

    @property
    def log(self) -> Path:
        """All that it prints."""
        return log_of(self.folder)

    @property
    def is_done(self) -> bool:
        return self.status in ("finished", "failed", "stopped")


def log_of(folder: Path) -> Path:
    """Of the run with this folder."""
    return folder.parent / ".logs" / f"{folder.name}.log"


@dataclass
class Running:
    """A job under way."""

    job: Job
    process: Any
    """A `Popen`, or what stands for one."""
    place: int
    started: float
    history_read: int = -1
    """Time stamp of the history when it was last read."""
    history_begun: int = -1
    """That of the history that was there before."""
    killed_at: float = math.inf
    """When it has had its time to end by itself."""


class Pool:
    """Runs `jobs` in `places`; `tell` is called after everything that changes, and now and then."""

    def __init__(self, jobs: Sequence[Job], places: Places, study: str, tell: Callable[[Job | None], None]) -> None:
        self.jobs = jobs
        self.by_folder = {job.folder: job for job in reversed(jobs)}
        self.places = places
        self.environment = {STUDY: study, **of_this_study(), **os.environ, **of_this_process()}
        self.tell = tell
        self.running: list[Running] = []
        self.looked: dict[Path, float] = {}

    def run(self) -> None:
        """Until every job is done. Interrupted, it ends what runs, and raises on."""
        with stops_interrupt():
            try:
                while not all(job.is_done for job in self.jobs):
                    self._conclude()
                    self.places.look(self.running)
                    self._start()
                    self.tell(None)
                    time.sleep(TICK_SECONDS)
            finally:
                self._end_all()

    def _start(self) -> None:
        for job in self.jobs:
            if len(self.running) >= self.places.number:
                return
            if job.status in ("waiting", "elsewhere") and self._is_ready(job):
                self._launch(job)

    def _is_ready(self, job: Job) -> bool:
        """Whether it can start now; a job that need not, or cannot any more, is done hereby."""
        if time.monotonic() - self.looked.get(job.folder, -LOOK_AGAIN_SECONDS) < LOOK_AGAIN_SECONDS:
            return False
        if any(other.job.folder == job.folder for other in self.running):
            return False  # the same run twice: the second one will find it finished
        source = self.by_folder.get(job.needs) if job.needs else None
        if source is not None and source.status in ("failed", "stopped"):
            self._done(job, "failed", f"its source {source.label} {source.status}: {source.reason}")
            return False
        if source is not None and source.status != "finished":
            return False
        if not job.rerun and (record := finished_record(job.folder)) and job.unchanged():
            job.seconds = record.cost.get("wall_seconds")
            self._done(job, "finished", "was finished before", record)
            return False
        if is_busy(job.folder):
            self.looked[job.folder] = time.monotonic()
            if job.status != "elsewhere":
                job.status = "elsewhere"
                self.tell(job)
            return False
        return True

    def _launch(self, job: Job) -> None:
        place = min(set(range(len(self.places.gpus))) - {other.place for other in self.running})
        job.log.parent.mkdir(parents=True, exist_ok=True)
        begun = _stamp(job.folder / "history.csv")
        self.running.append(Running(job, self._begin(job, place), place, time.monotonic(), history_begun=begun))
        job.status = "running"
        self.tell(job)

    def _begin(self, job: Job, place: int) -> Any:
        """The job's process, or what stands for one."""
        own = variables(self.places.sharing, self.places.gpus[place], job.processes)
        environment = {**self.environment, **own}
        return start_cell(job.words, job.log, environment) or start_logged(job.words, job.log, environment)

    def _conclude(self) -> None:
        for running in list(self.running):
            job, code = running.job, running.process.poll()
            job.seconds = time.monotonic() - running.started
            if code is None:
                self._read_history(running)
                if time.monotonic() > running.killed_at:
                    kill_group(running.process)
                continue
            self.running.remove(running)
            kill_group(running.process)
            record = finished_record(job.folder)
            if job.reason == _STOPPED:
                self._done(job, "stopped", "")
            elif code == BUSY:
                job.status = "waiting"  # another study was quicker
                self.looked[job.folder] = time.monotonic()
            elif code == 0 and record:
                self._done(job, "finished", "", record)
                self.places.settle()
            else:
                self._done(job, "failed", why_failed(job.folder, code))

    def _done(self, job: Job, status: str, reason: str, record: RunRecord | None = None) -> None:
        job.status, job.reason = status, reason
        job.value = monitored(record, job.monitor) if record else None
        self.tell(job)

    def _read_history(self, running: Running) -> None:
        job, path = running.job, running.job.folder / "history.csv"
        stamp = _stamp(path)
        if stamp in (-1, running.history_read):  # set aside, or as it was
            return
        running.history_read = stamp
        job.history = read_history(path)
        if stamp != running.history_begun and job.monitor in job.history[-1]:
            self.places.settle()
        if job.watch is not None and not job.reason and job.watch(job.history):
            job.reason = _STOPPED
            running.killed_at = time.monotonic() + GRACE_SECONDS
            running.process.terminate()

    def _end_all(self) -> None:
        """SIGTERM, and SIGKILL for what has not ended in time; a second Ctrl-C does not wait."""
        for running in self.running:
            running.process.terminate()
        try:
            deadline = time.monotonic() + GRACE_SECONDS
            with suppress(subprocess.TimeoutExpired):
                for running in self.running:
                    running.process.wait(max(0.0, deadline - time.monotonic()))
        finally:
            for running in self.running:
                kill_group(running.process)


_STOPPED = "stopped by the sweeper"


def finished_record(folder: Path) -> RunRecord | None:
    """None where the run is not finished, or has no record that can be read."""
    record = record_in(folder)
    return record if record is not None and record.status == "finished" else None


def _stamp(path: Path) -> int:
    """-1 where it is not there."""
    return path.stat().st_mtime_ns if path.exists() else -1


def read_history(path: Path) -> list[Mapping[str, Any]]:
    """A row an epoch, numbers as numbers."""
    with path.open(newline="") as file:
        return [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(file)]
