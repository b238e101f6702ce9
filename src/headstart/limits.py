"""How much a file of a stranger may hold: looked at before memory is taken for it. Imports nothing heavy.

Each is many times what the largest public data sets have. A file's size on the disk says nothing: a sparse file of
2 GB takes no room there, and all of it in memory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from headstart.errors import UserError

MB = 1_000_000
ANNOTATIONS_BYTES = 4_000 * MB
"""Of a json that describes a whole data set (COCO's own has 470 MB)."""
XML_BYTES = 1_000 * MB
"""Of an xml that describes a whole data set."""
LABEL_BYTES = 16 * MB
"""Of the file that describes one picture: some 50,000 objects."""
TAGS = 5_000_000
"""Of an xml: its `<`, each of which may take forty times its place in memory."""
ATTRIBUTES = 20_000_000
"""Of an xml: its `=`."""
LINES_BYTES = 256 * MB
"""Of a list of pictures, of boxes or of names, a line each."""
LINE_CHARACTERS = 100_000
SETTINGS_BYTES = 1 * MB
"""Of a data.yaml: reading one takes some 10 s per MB."""
DESCRIPTION_BYTES = 16 * MB
"""Of the model.json of an exported model."""
GRAPH_BYTES = 1_000 * MB
"""Of a frozen TensorFlow graph."""
RECORD_BYTES = 256 * MB
"""Of the record.json of a run."""
DETECTIONS_BYTES = 4_000 * MB
"""Of the arrays of a detections.npz, or of the truth beside it: a hundred million boxes."""
CLASSES = 100_000
"""Of a data set or a model."""
MODEL_SIDE = 10_000
"""Pixels of an image's side that a model may ask for."""
ARCHIVE_MEMBERS = 5_000_000
ARCHIVE_GROWTH = 20
"""Times the archive's own size that what is in it may take; pictures do not shrink."""
ARCHIVE_FREE = 100 * MB
"""So much it may take in any case."""

FOOTER_BYTES = 64 * MB
"""Of a parquet file, which says where everything in it stands."""
FOOTER_ITEMS = 100_000
"""Of a list in that footer: its groups of rows, its columns."""
PARQUET_VALUES = 40_000_000
"""Numbers of a column that describes boxes: those of ten million, four each."""
PICTURE_BYTES = 1_000 * MB
"""Of a picture within another file."""


def read_bytes(path: Path, most: int, what: str) -> bytes:
    """The whole file. Raises `UserError` where it is larger than `most`, or no file at all (a pipe would hang)."""
    with open(path, "rb", opener=_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{path}: is no file, but a pipe or a device; remove it.")
        if status.st_size > most:
            raise UserError(_too_large(path, status.st_size, most, what))
        return file.read(status.st_size)  # not up to `most`: as much as is asked for is reserved


def read_text(path: Path, most: int, what: str) -> str:
    """As `read_bytes`, in UTF-8 with or without a mark. Raises `UnicodeDecodeError` as well."""
    return read_bytes(path, most, what).decode("utf-8-sig")


def lines(path: Path) -> Iterator[str]:
    """Line by line, without their ends; what is no UTF-8 replaced. Raises `UserError` for what is too long."""
    left = LINES_BYTES
    with open(path, encoding="utf-8-sig", errors="replace", opener=_without_waiting) as file:
        while chunk := file.readline(LINE_CHARACTERS + 1):
            left -= len(chunk)
            if len(chunk) > LINE_CHARACTERS:
                raise UserError(f"{path}: has a line of more than {LINE_CHARACTERS:,} characters, so it is no list.")
            if left < 0:
                raise UserError(_too_large(path, path.stat().st_size, LINES_BYTES, "a list"))
            yield from chunk.splitlines()


def first_line(path: Path) -> str:
    """The first line that is not blank, of what a look at the file's beginning shows."""
    with open(path, encoding="utf-8-sig", errors="replace", opener=_without_waiting) as file:
        return next((line.strip() for line in file.read(LINE_CHARACTERS).splitlines() if line.strip()), "")


def _without_waiting(path: str, flags: int) -> int:
    """A pipe that nobody writes to is opened nevertheless."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _too_large(path: Path, size: int, most: int, what: str) -> str:
    return f"{path}: has {size / MB:,.0f} MB; {what} may have {most / MB:,.0f} MB. Divide it, or remove it."
