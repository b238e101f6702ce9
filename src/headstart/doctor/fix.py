"""A clean copy: what training would use once everything that is an error was skipped or clipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headstart.data.types import DetectionData
from headstart.data.writers import coco
from headstart.data.writers.pictures import Loss
from headstart.errors import UserError


def write_clean(data: DetectionData, folder: Path) -> dict[str, Any]:
    """Writes `data` as COCO; gives what doctor.json says of it.

    UserError where a split has no picture left.
    """
    if empty := [split for split, images in data.splits.items() if not images]:
        raise UserError(f"fix={folder}: no picture of {', '.join(empty)} can be read, so that nothing can be written.")
    losses: list[Loss] = []
    coco.write(data, folder, losses.append)
    counts = {split: len(images) for split, images in data.splits.items()}
    return {"folder": str(folder), "pictures": counts, "changed": [vars(loss) for loss in losses]}
