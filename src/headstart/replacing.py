"""Files that are written whole or not at all. Imports nothing heavy."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headstart.errors import UserError

REASONS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""Why a disk takes nothing more; anything else is a mistake of ours."""


class Unwritable(UserError, OSError):
    """The disk is full, or does not let itself be written to: names file, reason and the space that there is."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to: what is there at the end takes the place of `path` in one moment.

    It is on the disk by then: else a machine that loses its power may have the name of the new and the content of
    neither. Raises `Unwritable` where the disk is why it could not be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{time.time_ns()}")  # two machines may share a folder
    try:
        yield temporary
        _to_disk(temporary)
        temporary.replace(path)
    except UserError:
        raise
    except Exception as error:
        if reason := _reason(error, temporary):
            raise unwritable(path, reason, temporary) from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def tidy(folder: Path) -> None:
    """Removes what processes that were killed in the midst of a file have left; none may be writing there now."""
    for path in folder.glob(".*"):
        if re.fullmatch(r"\..+\.\d+", path.name) and path.is_file():
            path.unlink(missing_ok=True)


def unwritable(path: Path, reason: OSError, written: Path | None = None) -> Unwritable:
    """`written`: what there is of it so far."""
    so_far = f" after {written.stat().st_size / 1e6:.1f} MB of it" if written and written.exists() else ""
    free = ""
    with suppress(OSError):
        free = f"; {shutil.disk_usage(path.parent).free / 1e6:.1f} MB are free there now"
    return Unwritable(
        f"{path} cannot be written: {reason.strerror}{so_far}{free}. What was there of it before is untouched. Make "
        "room, or make it writable, and give the same command again."
    )


def existing(folder: Path) -> Path:
    """It, or the nearest that it will lie in: whose disk it is on."""
    return next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _reason(error: Exception, temporary: Path) -> OSError | None:
    """What the system says; None where it has nothing to say."""
    if not isinstance(error, OSError):  # safetensors puts the number into words, torch has none
        told = re.search(r"\(os error (\d+)\)", str(error))
        return _with_number(OSError(int(told[1]), os.strerror(int(told[1])))) if told else _asked(temporary)
    return _with_number(error)


def _with_number(error: OSError) -> OSError | None:
    return error if error.errno in REASONS else None


def _asked(temporary: Path) -> OSError | None:
    """Whether the file can be made, and grow."""
    try:
        with temporary.open("ab") as file:
            file.write(bytes(1 << 20))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return _with_number(error)
    return None
