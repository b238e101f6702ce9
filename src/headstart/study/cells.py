"""The cells of a study: what is asked, and what became of it. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Watch = Callable[[int, list[Mapping[str, Any]]], bool]
"""Called with a cell's place in its batch and its history so far, a row an epoch, whenever there is a new row; true
stops the cell (`stopped`), whose folder can be gone on with."""


@dataclass(frozen=True)
class CellResult:
    """How one combination ended."""

    overrides: tuple[str, ...]
    folder: Path
    status: str
    """`finished`, `failed`, `not applicable`, or `stopped` by a `Watch`."""
    reason: str = ""
    value: float | None = None
    """What `monitor` names, of the exported weights: `val/map` unless set otherwise."""
