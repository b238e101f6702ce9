"""Processes that make the same file: one makes it, the others wait, and are told so. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

from headstart.say import say


def turn(path: Path, waiting: str) -> AcquireReturnProxy:
    """This process's turn with `path`, for a `with`; `waiting` is said where another process has it.

    The system lets go of it when the process dies, however it dies. Raises `OSError` or `NotImplementedError` where
    nothing can be locked.
    """
    lock = FileLock(path.with_suffix(".lock"), is_singleton=False)
    try:
        return lock.acquire(blocking=False)
    except Timeout:
        say(waiting)
        return lock.acquire()
