"""Named arrays in one file, read as a stranger's: what is not as it should be is refused with the file's name."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart import limits
from headstart.errors import UserError
from headstart.replacing import replacing


@dataclass(frozen=True)
class Column:
    """What an array is to be."""

    kind: str
    """`int32`, `float32`, `bool`, or `str` of any length."""
    row: tuple[int, ...] = ()
    """Shape of what stands in one row."""

    def holds(self, array: np.ndarray) -> bool:
        fits = array.dtype.kind == "U" if self.kind == "str" else array.dtype == np.dtype(self.kind)
        return fits and array.ndim == 1 + len(self.row) and array.shape[1:] == self.row


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Compressed; whole or not at all. Raises `Unwritable`."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def names_in(path: Path) -> list[str]:
    """Of the arrays. Raises `UserError` for what is no such file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise damaged(path, str(error)) from None


def read_arrays(path: Path, columns: Mapping[str, Column], prefix: str = "") -> dict[str, np.ndarray]:
    """By name without `prefix`. Raises `UserError` for what is missing, damaged, too large or of another type."""
    try:
        _check_size(path)
        with np.load(path, allow_pickle=False) as archive:
            if missing := [prefix + name for name in columns if prefix + name not in archive]:
                raise damaged(path, f"it has no {', '.join(missing)}")
            found = {name: archive[prefix + name] for name in columns}
    except UserError:
        raise
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error, SyntaxError) as error:
        raise damaged(path, (str(error).splitlines() or [type(error).__name__])[0]) from None
    for name, column in columns.items():
        if not column.holds(found[name]):
            what = f"{prefix}{name} is {found[name].dtype} of shape {found[name].shape}"
            raise damaged(path, f"{what}, not {column.kind} of shape (n, {', '.join(map(str, column.row))})")
    return found


def check(path: Path, **holds: bool) -> None:
    """Raises `UserError` that names the first thing that does not hold."""
    for what, true in holds.items():
        if not true:
            raise damaged(path, what.replace("_", " "))


def same_length(arrays: Sequence[np.ndarray]) -> bool:
    return len({len(array) for array in arrays}) == 1


def in_range(values: np.ndarray, end: int) -> bool:
    """All of 0 … end-1."""
    return not len(values) or (int(values.min()) >= 0 and int(values.max()) < end)


def damaged(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} cannot be read: {why}. Remove it; `headstart evaluate run=<the run's folder>` writes it anew."
    )


def _check_size(path: Path) -> None:
    """Before memory is taken for it: an archive of a megabyte may say that it holds terabytes."""
    if not path.is_file():
        raise damaged(path, "it is not there" if not os.path.lexists(path) else "it is no file")
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > limits.DETECTIONS_BYTES:
        raise damaged(path, f"it holds {size / limits.MB:,.0f} MB, and may {limits.DETECTIONS_BYTES / limits.MB:,.0f}")
