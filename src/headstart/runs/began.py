"""Which command a run belongs to, and when that began: what it left is gone on with, what was there before is old.

Imports nothing heavy.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache

from headstart.records.record import RunRecord

STARTED = "HEADSTART_STARTED"
"""When the study began, for the processes of its runs."""
STUDY = "HEADSTART_STUDY"
"""Its name."""


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@cache
def of_this_study() -> Mapping[str, str]:
    """The environment variable by which a run knows when its study began."""
    return {STARTED: now()}


def command() -> dict[str, str | None]:
    """For the record: `study`, the id of the study or of the run's own command, and `job`, that of a Slurm job, which
    stays the same when it is queued again."""
    return {
        "study": f"{os.environ.get(STUDY, 'run')}@{os.environ.get(STARTED) or now()}",
        "job": os.environ.get("SLURM_JOB_ID"),
    }


def is_older(record: RunRecord | None, started: str) -> bool:
    """Whether the run was begun before `started`, and not by a Slurm job that was preempted and is this one again.

    By the clock, which may have been set back: what was begun by this very study is not older, whatever the clock said
    then, and what was begun in the future is.
    """
    attempts = record.environment.get("attempts") if record else None
    if record is None or not attempts:
        return True
    job = os.environ.get("SLURM_JOB_ID")
    if job is not None and record.environment.get("job") == job and int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0:
        return False
    if STARTED in os.environ and record.environment.get("study") == command()["study"]:
        return False
    return not datetime.fromisoformat(started) <= datetime.fromisoformat(attempts[0]) <= datetime.fromisoformat(now())
