"""Whether a finished run is a measurement, and on which images. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headstart.config.complete import completed
from headstart.errors import UserError
from headstart.records.record import RunRecord

Run = tuple[Path, RunRecord]

NO_TRAINING = ("fast_dev_run", "overfit_batches")
"""Settings of the trainer that try whether a run works, and find nothing."""


@dataclass(frozen=True)
class Unmeasured:
    """A finished run that is not compared."""

    path: Path
    record: RunRecord
    why: str


def finished(runs: Sequence[Run]) -> list[Run]:
    """With the settings that came after their records at their defaults: what a record does not say is no difference.

    Raises `UserError` where there are none.
    """
    found = [
        (path, replace(record, config=completed(record.config))) for path, record in runs if record.status == "finished"
    ]
    if not found:
        raise UserError("No finished run to show: `python train.py` makes one, in outputs/")
    return found


def folders(runs: Sequence[Run]) -> list[str]:
    """What they are called."""
    return [path.name for path, _ in runs]


def why_no_measurement(record: RunRecord) -> str:
    """Empty where what the run found is one."""
    trainer = record.config.get("trainer", {})
    return ", ".join(f"trainer.{name}={trainer[name]}" for name in NO_TRAINING if trainer.get(name))


def why_not_whole(record: RunRecord, split: str) -> str:
    """Empty where the run was measured on every image of the split."""
    result = record.metrics.get(split)
    if not result:
        return f"not measured on {split} images"
    there, seen = (record.dataset.get("num_images") or {}).get(split), result.get("images")
    if there is None or seen is None or seen >= there:
        return ""
    limit = record.config.get("trainer", {}).get(f"limit_{split}_batches")
    because = "" if limit is None else f", trainer.limit_{split}_batches={limit}"
    return f"measured on {seen} of {there} {split} images{because}"


OLDER = {"train": "fingerprint", "val": "evaluation_fingerprint", "test": "evaluation_fingerprint"}
"""What a record of schema_version 1 has in place of a split's own fingerprint: one of several splits."""


def fingerprints(runs: Sequence[Run], split: str) -> list[str]:
    """Of each run's images of the split; empty where its data has no such split.

    Where a newer record says which images an older one's fingerprint means, both have the same.
    """
    own = [str((record.dataset.get("fingerprints") or {}).get(split) or "") for _, record in runs]
    older = [str(record.dataset.get(OLDER[split])) if _has(record, split) else "" for _, record in runs]
    newer = {old: found for old, found in zip(older, own, strict=True) if old and found}
    return [found or newer.get(old, old) for found, old in zip(own, older, strict=True)]


def _has(record: RunRecord, split: str) -> bool:
    return split != "test" or bool(record.metrics.get("test"))
