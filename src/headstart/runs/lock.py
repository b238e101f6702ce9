"""One process at a time for a run's folder, on one machine or several that share the disk. Imports no torch."""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    lock = _acquired(folder)
    if lock is None:
        raise Busy(
            f"{folder} is being trained by another process{_whose(folder)}. Wait for it, or give another output_dir."
        )
    try:
        with suppress(OSError):  # of a full disk a file that matters tells more
            _holder(folder).write_text(f"process {os.getpid()} on {platform.node()}\n")
        yield
    finally:
        lock.release()


def is_busy(folder: Path) -> bool:
    """Whether another process has the run at this moment."""
    lock = _acquired(folder)
    if lock is not None:
        lock.release()
    return lock is None


def _acquired(folder: Path) -> FileLock | None:
    """None where another process has it."""
    path = _holder(folder).with_suffix(".lock")
    # A run and a look at it from the same process are not the same holder.
    lock = FileLock(path, is_singleton=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        return None
    except (OSError, NotImplementedError) as error:
        raise UserError(_refused(folder, path, error)) from error
    return lock


def _refused(folder: Path, path: Path, error: Exception) -> str:
    if getattr(error, "errno", None) in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.ENOTDIR):
        return f"output_dir={folder.parent}: {path} cannot be written ({error})."
    return (
        f"output_dir={folder.parent}: the file system there locks no files ({error}). Without a lock two processes "
        "could train one run: give an output_dir on another disk."
    )


def _holder(folder: Path) -> Path:
    """Says who holds the lock beside it, or held it last."""
    return folder.parent / ".locks" / f"{folder.name}.txt"


def _whose(folder: Path) -> str:
    try:
        return f" ({_holder(folder).read_text().strip()})"
    except OSError:
        return ""
