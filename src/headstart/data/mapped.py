"""Decoded, resized images in a file that is mapped into memory: made once, shared by every process that maps it.

Its name is a digest of what is in it. A file is an 8-byte mark, a checksum and the blocks of its `Layout`.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import AcquireReturnProxy
from torch import Tensor

from headstart.data.blocks import Blocks, Layout
from headstart.data.canvases import Canvases
from headstart.data.objects import resized_sizes_hw
from headstart.data.reading import read_all
from headstart.data.table import ImageTable
from headstart.data.types import Size
from headstart.errors import UserError
from headstart.replacing import existing, replacing
from headstart.say import say
from headstart.turns import turn

VERSION = 1
"""Of what lies in a file: counted up when decoding or resizing gives other pixels, or they are laid out otherwise."""
SUFFIX = ".pixels"
_MARK = b"HSpixel" + bytes([VERSION])
_HEADER = len(_MARK) + 4


@dataclass(frozen=True)
class MappedFile:
    """Where the pictures of a split lie, or are to lie."""

    path: Path
    layout: Layout

    @staticmethod
    def of(images: ImageTable, size: Size, folder: Path) -> MappedFile:
        """Every picture has a digest. The canvases are the pictures' own: no network has a say in a file for all."""
        sizes_hw = resized_sizes_hw(images, size)
        said = repr((VERSION, tuple(size), images.digests, images.sizes_wh.tolist()))
        name = hashlib.blake2b(said.encode(), digest_size=16).hexdigest()
        return MappedFile(folder / f"{name}{SUFFIX}", Layout.of(sizes_hw, Canvases.of(sizes_hw)))

    @property
    def num_bytes(self) -> int:
        return _HEADER + self.layout.num_bytes

    def is_there(self) -> bool:
        """By its size: whether it is sound is seen when it is opened."""
        return self.path.is_file() and self.path.stat().st_size == self.num_bytes

    def opened(self) -> MappedBlocks | None:
        """None where it is not there, or damaged."""
        if not self.is_there():
            return None
        with self.path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        sound = mapped[:_HEADER] == _MARK + _checksum(memoryview(mapped)[_HEADER:])
        return MappedBlocks(self.layout, _blocks(self.layout, mapped), self) if sound else None

    def made(self, images: ImageTable, size: Size, split: str, limit_bytes: float) -> MappedBlocks:
        """Opened, and written before where no process did that; one writes, and others wait for it.

        Raises `UserError` for an unreadable image, and where there is no room for it.
        """
        if found := self.opened():
            return found
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self.path):
            if found := self.opened():
                return found
            if self.path.exists():
                say(f"{self.path} is damaged: it is made anew.")
            for left in (self.path, *self.path.parent.glob(f".{self.path.name}.*")):  # by one that was killed
                left.unlink(missing_ok=True)
            with replacing(self.path) as temporary:
                self._write(temporary, images, size, split, limit_bytes)
        found = self.opened()
        assert found is not None, self.path
        return found

    def _write(self, path: Path, images: ImageTable, size: Size, split: str, limit_bytes: float) -> None:
        with path.open("w+b") as file:
            with _locked(self.path.parent / "room"):  # two may both find room for one
                if problem := room_problem(self.path.parent, self.num_bytes, limit_bytes):
                    raise UserError(f"dataset.cache: {problem}, or use dataset.cache=none.")
                file.truncate(self.num_bytes)
            offsets = _offsets(self.layout)

            def put(number: int, pixels: Tensor) -> None:
                group, place = int(self.layout.group[number]), int(self.layout.place[number])
                canvas = np.zeros(self.layout.shapes[group][1:], np.uint8)
                canvas[:, : pixels.shape[-2], : pixels.shape[-1]] = pixels.numpy()
                _write_at(file.fileno(), canvas.data.cast("B"), offsets[group] + place * canvas.nbytes)

            read_all(images, size, split, put)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                header = _MARK + _checksum(memoryview(mapped)[_HEADER:])
            _write_at(file.fileno(), memoryview(header), 0)


@dataclass(frozen=True)
class MappedBlocks(Blocks):
    """A process that is sent them maps the file itself."""

    file: MappedFile

    def __reduce__(self) -> tuple[object, ...]:
        return MappedFile.opened, (self.file,)


def room_problem(folder: Path, num_bytes: int, limit_bytes: float) -> str | None:
    """Why files of so many more bytes cannot be written, and what to do; None where they can."""
    used, there = used_bytes(folder), existing(folder)
    wanted = f"{gib(num_bytes)} are to be written to {folder}"
    if num_bytes and not os.access(there, os.W_OK):
        return f"{wanted}, which cannot be written to. Name another folder with dataset.cache_dir"
    if num_bytes and used + num_bytes > limit_bytes:
        return (
            f"{wanted}, where {gib(used)} lie already: more than dataset.cache_limit_gib={limit_bytes / 2**30:g}. "
            "Raise it, delete what no study needs in that folder"
        )
    if num_bytes > (free := shutil.disk_usage(there).free):
        return f"{wanted}, where {gib(free)} are free. Make room, name another folder with dataset.cache_dir"
    return None


def used_bytes(folder: Path) -> int:
    """Of the caches in a folder, and of those that are being written."""
    return sum(path.stat().st_size for path in folder.glob(f"*{SUFFIX}*") if path.is_file())


def gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.2f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.1f} MiB"


def _offsets(layout: Layout) -> list[int]:
    """Of the blocks in the file."""
    sizes = [int(np.prod(shape)) for shape in layout.shapes]
    return [_HEADER + sum(sizes[:number]) for number in range(len(sizes))]


def _blocks(layout: Layout, mapped: mmap.mmap) -> list[Tensor]:
    with warnings.catch_warnings():  # that it cannot be written to
        warnings.filterwarnings("ignore", "The given buffer is not writable")
        pixels = torch.frombuffer(mapped, dtype=torch.uint8)
    shapes = layout.shapes
    return [
        pixels[at : at + int(np.prod(shape))].view(shape) for at, shape in zip(_offsets(layout), shapes, strict=True)
    ]


def _checksum(content: memoryview) -> bytes:
    return zlib.crc32(content).to_bytes(4, "little")


def _write_at(descriptor: int, content: memoryview, offset: int) -> None:
    """A full disk takes a part, and says so when it is offered the rest."""
    while content:
        written = os.pwrite(descriptor, content, offset)
        content, offset = content[written:], offset + written


def _locked(path: Path) -> AcquireReturnProxy:
    try:
        return turn(path, f"Another process writes {path.name}: waiting for it.")
    except (OSError, NotImplementedError) as error:
        raise UserError(
            f"{path.parent} cannot hold the cache of pictures ({error}): use dataset.cache_dir=<folder on another "
            "disk>, or dataset.cache=none."
        ) from error
