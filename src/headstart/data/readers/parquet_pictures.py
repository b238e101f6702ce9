"""The pictures in parquet files, as files: everything behind the readers works on those.

They are unpacked once, to `<root>.unpacked/<digest>/<split>/<row>.<suffix>` beside the data set's folder, whole or not
at all. The digest is of the parquet files' names, sizes and times: changed files are unpacked anew. No name in the data
becomes the name of a file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from headstart import limits
from headstart.data.readers.layout import relative_name
from headstart.data.readers.listed import Source
from headstart.data.readers.parquet_columns import Columns
from headstart.data.readers.parquet_files import Head, rows
from headstart.errors import UserError
from headstart.say import console, is_main_process, say
from headstart.turns import turn

_SHOW_PROGRESS_FROM = 200
_SUFFIXES = (
    (b"\xff\xd8", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"RIFF", ".webp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
)
"""First bytes -> suffix. What a row's path says may be wrong, and counts for nothing."""
_UNKNOWN = ".image"


@dataclass(frozen=True)
class Shard:
    """A parquet file as a part of its split."""

    source: Source
    head: Head
    columns: Columns
    folder: str
    """Of its pictures."""
    first: int
    """Rows that the files of the same split have before it."""

    def name(self, row: int) -> str:
        """Of a row's picture, without a suffix: the same in however many files the split is."""
        return f"{self.folder}/{self.first + row:08d}"


def unpacked(shards: Sequence[Shard], root: Path) -> Path | None:
    """The folder that holds the pictures; None where the rows only name files."""
    shards = [shard for shard in shards if shard.head.num_rows]
    if not any(map(_has_bytes, shards)):
        return None
    folder = _place(shards, root)
    if not folder.is_dir():
        with _turn(folder) as alone:
            for left in folder.parent.glob(f".{folder.name}.part-*") if alone else ():  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            if not folder.is_dir():
                _unpack(shards, folder, root)
    return folder


def find(shard: Shard, folder: Path | None) -> dict[str, Path] | None:
    """`Shard.name` -> file of the pictures of its split; None without a folder."""
    if folder is None:
        return None
    return {f"{shard.folder}/{path.stem}": path for path in (folder / shard.folder).glob("*")}


def _has_bytes(shard: Shard) -> bool:
    """Told by the first row that has any."""
    leaf = shard.columns.bytes_leaf
    found = rows(shard.head, [leaf], 1, limits.PICTURE_BYTES) if leaf else ()
    return any(shard.columns.bytes_in(row) is not None for _, row in found)


def _place(shards: Sequence[Shard], root: Path) -> Path:
    digest = hashlib.blake2b(digest_size=8)
    for shard in shards:
        found = shard.head.path.stat()
        name = relative_name(shard.head.path, root)
        line = (shard.name(0), shard.columns.picture, name, found.st_size, found.st_mtime_ns)
        digest.update(f"{line}\n".encode(errors="surrogateescape"))
    base = Path(os.path.abspath(root))
    return base.with_name(f"{base.name}.unpacked") / digest.hexdigest()


def _turn(folder: Path) -> AbstractContextManager[object]:
    """One process unpacks and the others wait. Where nothing can be locked all of them do, and the first one counts:
    then what it is entered with is None."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return turn(folder.with_name(".unpacking"), f"Waiting for another process, which unpacks pictures to {folder}")
    except (OSError, NotImplementedError):
        return nullcontext()


def _unpack(shards: Sequence[Shard], folder: Path, root: Path) -> None:
    temporary = folder.with_name(f".{folder.name}.part-{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
        _check_space(shards, temporary)
        num_bytes = _write(shards, temporary)
        getattr(os, "sync", int)()  # a machine that loses its power has the folder with its files, or not at all
        temporary.replace(folder)
    except OSError as error:
        if not folder.is_dir():
            raise UserError(_unwritable(root, folder, error)) from error
    else:
        total = sum(shard.head.num_rows for shard in shards)
        say(f"Unpacked {total:,} pictures of {len(shards)} parquet files ({num_bytes / 1e6:.1f} MB) to {folder}")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _unwritable(root: Path, folder: Path, error: Exception) -> str:
    base = root.absolute().name
    return (
        f"{folder} cannot be written ({error}), where the pictures of the parquet files are unpacked: make room, or "
        f"make it writable; or make a link to the data where there is room, and use that: ln -s {root.absolute()} "
        f"<folder>/{base}, dataset.root=<folder>/{base}."
    )


def _check_space(shards: Sequence[Shard], folder: Path) -> None:
    """Pictures do not shrink in parquet."""
    needed, free = sum(map(_size, shards)), shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(f"{needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free")


def _size(shard: Shard) -> int:
    return shard.head.path.stat().st_size


def _write(shards: Sequence[Shard], folder: Path) -> int:
    """The number of bytes."""
    most = max(limits.ARCHIVE_FREE, limits.ARCHIVE_GROWTH * sum(map(_size, shards)))
    total, written = sum(shard.head.num_rows for shard in shards), 0
    quiet = total < _SHOW_PROGRESS_FROM or not is_main_process()
    pictures = (item for shard in shards for item in _pictures(shard, folder))
    for path, content in track(pictures, "Unpacking", total=total, disable=quiet, transient=True, console=console):
        written += len(content)
        if written > most:
            raise UserError(
                f"{shards[0].head.path}: holds pictures of {written:,} bytes or more, too much for its size."
            )
        path.write_bytes(content)
    return written


def _pictures(shard: Shard, folder: Path) -> Iterator[tuple[Path, bytes]]:
    """(file, content); none is an empty file, which the reader finds unreadable."""
    columns, head = shard.columns, shard.head
    (folder / shard.folder).mkdir(exist_ok=True)
    leaves = [leaf for leaf in (columns.bytes_leaf, columns.path_leaf) if leaf]
    for number, row in rows(head, leaves, 1, limits.PICTURE_BYTES):
        content = columns.bytes_in(row)
        if content is None and columns.path_in(row):
            raise UserError(f"{head.path}: row {number}: has a path in place of the bytes that others have; add them.")
        content = content or b""
        suffix = next((suffix for start, suffix in _SUFFIXES if content.startswith(start)), _UNKNOWN)
        yield folder / f"{shard.name(number)}{suffix}", content
