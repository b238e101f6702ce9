"""One process at a time for a run's folder, on one machine or several that share the disk. Imports no torch."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from headstart.errors import UserError

BUSY = 75
"""Exit code of a run that another process has: EX_TEMPFAIL of sysexits.h."""


class Busy(UserError):
    """Another process has the run."""

    exit_code = BUSY


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the run's lock; the system lets go of it when the process dies, however it dies.

    Raises `Busy` where another process holds it.
    """
    lock = _lock(folder)
    if not _acquired(lock, folder):
        raise Busy(
            f"{folder} is being trained by another process{_whose(folder)}. Wait for it, or give another output_dir."
        )
    _holder(folder).write_text(f"process {os.getpid()} on {platform.node()}\n")
    try:
        yield
    finally:
        lock.release()


def is_busy(folder: Path) -> bool:
    """Whether another process has the run at this moment."""
    lock = _lock(folder)
    if not _acquired(lock, folder):
        return True
    lock.release()
    return False


def _acquired(lock: FileLock, folder: Path) -> bool:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    except (OSError, NotImplementedError) as error:
        raise UserError(
            f"output_dir={folder.parent}: the file system there locks no files, or not for this user ({error}). "
            "Without a lock two processes could train one run: give an output_dir on another disk."
        ) from error
    return True


def _lock(folder: Path) -> FileLock:
    path = _holder(folder).with_suffix(".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output_dir={folder.parent}: {path.parent} cannot be written ({error}).") from error
    # A run and a look at it from the same process are not the same holder.
    return FileLock(path, is_singleton=False)


def _holder(folder: Path) -> Path:
    """Says who holds the lock beside it, or held it last."""
    return folder.parent / ".locks" / f"{folder.name}.txt"


def _whose(folder: Path) -> str:
    try:
        return f" ({_holder(folder).read_text().strip()})"
    except OSError:
        return ""
