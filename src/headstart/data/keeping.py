"""Where the decoded, resized pictures of a run are kept, and what `dataset.cache=auto` stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from headstart.config.schema import Cache, DatasetConfig
from headstart.data.blocks import Blocks, Layout, Pictures, Unread
from headstart.data.canvases import Canvases, Padding
from headstart.data.mapped import MappedFile, gib, room_problem
from headstart.data.objects import resized_sizes_hw
from headstart.data.reading import read_all
from headstart.data.table import ImageTable
from headstart.data.types import Size
from headstart.errors import UserError

LIMIT_BYTES = 1024**3
"""`Cache.auto` keeps a run's pictures in memory up to this size …"""
SHARE_OF_DEVICE = 1 / 3
"""… and on the GPU that trains up to this share of its free memory."""


@dataclass(frozen=True)
class Place:
    """What pictures are made for, and where they may lie."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """That computes with them."""
    folder: Path | None = None
    """Of mapped files, unless `dataset.cache_dir` names one; None: there is none."""
    padding: Padding = field(default_factory=Padding)


def cache_folder(output_dir: str | Path) -> Path:
    """Of the runs in an `output_dir`."""
    return Path(output_dir) / "cache"


@dataclass(frozen=True)
class Keeping:
    """How the pictures of a run are kept."""

    kind: Cache
    """Never `auto`."""
    words: str
    """How much, and where; or why not."""
    size: Size
    canvases: Canvases
    device: torch.device
    folder: Path | None
    limit_bytes: float

    def pictures(self, images: ImageTable, split: str) -> Pictures:
        """Those of a split. Raises `UserError` for an unreadable image, where they are read for good."""
        if self.kind is Cache.none:
            return Unread(images, self.size)
        if self.kind is Cache.disk:
            assert self.folder is not None
            return MappedFile.of(images, self.size, self.folder).made(images, self.size, split, self.limit_bytes)
        device = self.device if self.kind is Cache.device else torch.device("cpu")
        layout = Layout.of(resized_sizes_hw(images, self.size), self.canvases)
        return Blocks.filled(layout, device, partial(read_all, images, self.size, split))


def keep(
    splits: Mapping[str, ImageTable], size: Size, canvases: Canvases, config: DatasetConfig, place: Place
) -> Keeping:
    """Raises `UserError` where `dataset.cache` cannot be obeyed."""
    folder = Path(config.cache_dir).expanduser() if config.cache_dir else place.folder
    limit = config.cache_limit_gib * 2**30
    needed = sum(Layout.of(resized_sizes_hw(images, size), canvases).num_bytes for images in splits.values())
    kind, words = config.cache, gib(needed)
    if kind is Cache.auto:
        kind = _fast(needed, place.device)
    if kind is Cache.device and place.device.type != "cuda":
        raise UserError("dataset.cache=device: no CUDA device trains. Use dataset.cache=memory, or auto.")
    if kind is Cache.disk:
        words, problem = _on_disk(splits, size, folder, limit)
        if problem and config.cache is Cache.disk:
            raise UserError(f"dataset.cache=disk: {problem}, or use dataset.cache=none.")
        kind, words = (Cache.none, f"pictures are decoded each time: {problem}") if problem else (kind, words)
    elif kind is Cache.none:
        words = "pictures are decoded each time"
    return Keeping(kind, words, size, canvases, place.device, folder, limit)


def _fast(num_bytes: int, device: torch.device) -> Cache:
    if device.type == "cuda" and num_bytes <= torch.cuda.mem_get_info(device)[0] * SHARE_OF_DEVICE:
        return Cache.device
    return Cache.memory if num_bytes <= LIMIT_BYTES else Cache.disk


def _on_disk(splits: Mapping[str, ImageTable], size: Size, folder: Path | None, limit: float) -> tuple[str, str | None]:
    """What lies there, or will; and what is in the way of it."""
    if folder is None:
        return "", "there is no folder for it: name one with dataset.cache_dir=<folder>"
    if nameless := sum(not digest for images in splits.values() for digest in images.digests):
        return "", f"{nameless} pictures have no digest by which they could be known again; use dataset.cache=memory"
    files = {file.path: file for images in splits.values() for file in [MappedFile.of(images, size, folder)]}
    missing = sum(file.num_bytes for file in files.values() if not file.is_there())
    words = f"{gib(sum(file.num_bytes for file in files.values()))} in {folder}"
    return f"{words}, {gib(missing)} of it to be written" if missing else words, room_problem(folder, missing, limit)
