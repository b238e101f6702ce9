"""Small JPEGs of pictures of a split, in `truth/<fingerprint>/` beside the runs: those that runs got most wrong, for
reports that have no data set at hand. Shared by all runs, so that what one kept another need not. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from headstart.records.truth import truth_path
from headstart.replacing import replacing

LARGEST = 1_000_000
"""Bytes of one; what is larger is none of ours."""
MOST_BYTES = 16_000_000
"""Of all pictures of a split: what comes after is not kept."""


def pictures_folder(run_folder: Path, fingerprint: str) -> Path:
    """Raises `UserError` for what is no fingerprint."""
    return truth_path(run_folder, fingerprint).with_suffix("")


def kept_rows(run_folder: Path, fingerprint: str) -> set[int]:
    """The rows in `Truth` of the pictures that are there."""
    paths = pictures_folder(run_folder, fingerprint).glob("*.jpg")
    return {int(path.stem) for path in paths if path.stem.isdecimal()}


def read_picture(run_folder: Path, fingerprint: str, row: int) -> bytes | None:
    """None where it was not kept, or is no JPEG of ours."""
    path = pictures_folder(run_folder, fingerprint) / f"{row}.jpg"
    if not path.is_file() or path.stat().st_size > LARGEST:
        return None
    content = path.read_bytes()
    return content if content.startswith(b"\xff\xd8\xff") else None


def write_pictures(run_folder: Path, fingerprint: str, pictures: Iterable[tuple[int, bytes]]) -> int:
    """Of the (row, JPEG) pairs as many as there is room for; how many there was none for. Raises `Unwritable`."""
    folder = pictures_folder(run_folder, fingerprint)
    folder.mkdir(parents=True, exist_ok=True)
    taken, left_out = sum(path.stat().st_size for path in folder.glob("*.jpg")), 0
    for row, content in pictures:
        taken += len(content)
        if taken > MOST_BYTES or len(content) > LARGEST:
            left_out += 1
            continue
        with replacing(folder / f"{row}.jpg") as temporary:
            temporary.write_bytes(content)
    return left_out
