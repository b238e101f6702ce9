"""Room on the disk for the end of a run's record. Imports no torch."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from headstart.records.record import RunRecord


def reserve(folder: Path) -> None:
    """Room on the disk for what the record says at the end, which may be that the disk is full."""
    _reserved(folder).write_bytes(bytes(1 << 18))


def write_end(folder: Path, record: RunRecord) -> None:
    with suppress(OSError):
        _reserved(folder).unlink(missing_ok=True)
    record.write(folder / "record.json")


def _reserved(folder: Path) -> Path:
    return folder / ".reserved"
