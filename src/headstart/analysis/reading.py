"""`analysis.json` of another's run, read as a stranger's. Imports no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart import limits
from headstart.analysis.curves import RECALLS
from headstart.analysis.summary import FILE, VERSION
from headstart.errors import UserError


@dataclass(frozen=True)
class Known:
    """What a comparison reads of a split."""

    fingerprint: str
    max_detections: int
    curve: list[float | None]
    """(51,) precision at an IoU of 0.5, mean over the classes."""
    errors: dict[int, int]
    """Row in `Truth` -> wrong detections and missed objects in that picture."""
    thresholds: dict[str, float]
    """Class -> the score of its best F1."""


def read_analysis(folder: Path, split: str) -> Known | None:
    """None where there is none of the split; raises `UserError` for what is none of ours."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        known = json.loads(limits.read_bytes(path, limits.RECORD_BYTES, "an analysis"))
        if known["version"] != VERSION:
            raise ValueError(f"version {known['version']}, not {VERSION}")
        return _of_split(known[split]) if split in known else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} cannot be read: {type(error).__name__} {error}. `headstart report {folder}` writes it anew."
        ) from None


def _of_split(found: dict[str, Any]) -> Known:
    curve = [None if value is None else float(value) for value in found["precision"]["0.5"]]
    if len(curve) != len(RECALLS):
        raise ValueError(f"a curve of {len(curve)} numbers")
    pictures = zip(found["pictures"]["rows"], found["pictures"]["wrong"], strict=True)
    best = {name: known["threshold"] for name, known in found["classes"].items()}
    return Known(
        fingerprint=str(found["fingerprint"]),
        max_detections=int(found["max_detections"]),
        curve=curve,
        errors={int(row): int(count) for row, count in pictures},
        thresholds={name: float(known["score"]) for name, known in best.items() if known},
    )
