"""What stays of a finished run beside its model and its record: it is not gone on with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from headstart.config.schema import Keep
from headstart.replacing import replacing
from headstart.training.frozen import read_checkpoint
from headstart.transfer.proof import FROZEN_FILE


def keep(folder: Path, settings: Mapping[str, Any]) -> None:
    """Removes the checkpoints that `training.keep` does not ask for; a run that was begun before there was such a
    setting keeps all. What could not be read, and was put aside, stays."""
    what, kept = settings.get("training", {}).get("keep", Keep.all.value), folder / "checkpoints"
    if what == Keep.all.value or not kept.is_dir():
        return
    best = next((path for path in (kept / "best.ckpt", kept / "last.ckpt") if path.exists()), None)
    if what == Keep.best.value and best is not None:
        _make_whole(best, kept / "best.ckpt")
    removed = ("last.ckpt", "cost.json", FROZEN_FILE, *(["best.ckpt"] if what == Keep.model.value else []))
    for name in removed:
        (kept / name).unlink(missing_ok=True)
    if not any(kept.iterdir()):
        kept.rmdir()


def lost(folder: Path, what: Keep) -> str:
    """What to say of a finished run of which more is asked for than it kept."""
    if what is Keep.model or (folder / "checkpoints" / "best.ckpt").exists():
        return ""
    return f" training.keep={what.value}: it was finished without, and its checkpoints are gone."


def _make_whole(path: Path, place: Path) -> None:
    """A file that needs no other."""
    if path == place and not path.with_name(FROZEN_FILE).exists():
        return
    content = read_checkpoint(path)
    with replacing(place) as new:
        torch.save(content, new)
