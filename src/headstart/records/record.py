"""`record.json`: what a run was, what it found and what it cost. Imports no torch."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart import limits
from headstart.errors import UserError
from headstart.replacing import replacing
from headstart.visible import masked

SCHEMA_VERSION = 2
READABLE = (1, SCHEMA_VERSION)
"""Records of version 1 are compared, but do not say enough of their data to be gone on with."""
SOURCES = "sources"
"""Folder of runs that others start from: they are no cells of a comparison."""
DETECTIONS = "detections.npz"
"""Beside the record: what the run found (detections.py)."""
STATUSES = ("finished", "failed", "interrupted", "not_applicable")


@dataclass
class RunRecord:
    """Everything about one run that other programs may rely on."""

    status: str = "interrupted"
    choices: dict[str, Any] = field(default_factory=dict)
    """dataset, model, backbone, source, strategy, seed, fraction, shots."""
    config: dict[str, Any] = field(default_factory=dict)
    """The resolved configuration."""
    dataset: dict[str, Any] = field(default_factory=dict)
    """Fingerprints (`fingerprints`: one per split), class names, images and boxes per split, defects."""
    load: dict[str, Any] = field(default_factory=dict)
    """What the source gave, and the digest of its weights."""
    plan: list[dict[str, Any]] = field(default_factory=list)
    """A row a stage, with the digest of its frozen tensors before and after training."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """`val` (and `test`) of the exported weights, and `history`, a row an epoch."""
    cost: dict[str, Any] = field(default_factory=dict)
    """wall_seconds, cpu_seconds, train_images_per_second, peak_memory_mib, trained_ and total_parameters."""
    lineage: list[str] = field(default_factory=list)
    """Where the weights come from, oldest first, this run last."""
    environment: dict[str, Any] = field(default_factory=dict)
    """Versions, hardware, `precision`, `device`, `threads`, `study`; `attempts`: when each began; `changes`: what was
    not the same in all of them; `directory`: what a relative `dataset.root` counts from, where `output_dir` does not
    say it."""
    error: dict[str, str] | None = None
    schema_version: int = SCHEMA_VERSION

    def write(self, path: Path) -> None:
        """Whole or not at all, whatever happens to the process; NaN becomes null, a secret `***`."""
        text = json.dumps(masked(_finite(dataclasses.asdict(self))), indent=1, allow_nan=False)
        with replacing(path) as temporary:
            temporary.write_text(text + "\n")

    @classmethod
    def read(cls, path: Path) -> RunRecord:
        """Raises `UserError` for a file that is no record, or one of a newer version."""
        try:
            values = json.loads(limits.read_bytes(path, limits.RECORD_BYTES, "a record"))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{path} cannot be read as a run's record: {error}") from None
        if not isinstance(values, dict) or "schema_version" not in values:
            raise UserError(f"{path} is no run's record: it has no schema_version")
        version = values["schema_version"]
        if version not in READABLE:
            raise UserError(
                f"{path}: schema_version={version}, this Headstart reads {' and '.join(map(str, READABLE))}. "
                "Use the version that wrote it (environment.packages.headstart)."
            )
        known = {item.name for item in dataclasses.fields(cls)}
        unknown, missing = set(values) - known, known - set(values)
        if unknown or missing or values["status"] not in STATUSES:
            what = f"keys {', '.join(sorted(unknown | missing)) or 'status'}"
            raise UserError(f"{path} is no whole record: {what} are unknown, missing or wrong. Run it again.")
        record, usual = cls(**values), cls()
        for item in dataclasses.fields(cls):
            value, expected = values[item.name], getattr(usual, item.name)
            if not isinstance(value, type(expected) if expected is not None else dict | None):
                raise UserError(f"{path} is no whole record: {item.name} is a {type(value).__name__}. Run it again.")
        return record


def read_all(folder: Path) -> list[tuple[Path, RunRecord]]:
    """Every run's folder below `folder` with its record, by name; folders that begin with a dot are left out."""
    return [(path.parent, RunRecord.read(path)) for path in record_files(folder)]


def record_files(folder: Path) -> list[Path]:
    """The record of every run below `folder`, by name; what lies in a run's folder, is called `SOURCES`, or begins
    with a dot, is not searched."""
    found = []
    for path, folders, files in os.walk(folder):
        if "record.json" in files:
            found.append(Path(path) / "record.json")
            folders.clear()
        folders[:] = [name for name in folders if not name.startswith(".") and name != SOURCES]
    return sorted(found)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
