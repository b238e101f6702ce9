"""Columns of a table of images whose values are objects elsewhere: texts, digests, readers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from headstart.data.images import FileImage
from headstart.data.windows import WindowOf

_DIGEST_BYTES = 16


@dataclass(frozen=True)
class Texts(Sequence[str]):
    """Many texts in one block."""

    block: bytes
    """UTF-8, with what that cannot hold (the half of a character in a file's name) as if it could."""
    ends: np.ndarray
    """(N,) int64: where each text ends."""

    @staticmethod
    def of(texts: Iterable[str]) -> Texts:
        blocks = [text.encode("utf-8", "surrogatepass") for text in texts]
        return Texts(b"".join(blocks), np.fromiter(map(len, blocks), dtype=np.int64).cumsum())

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        start = int(self.ends[index - 1]) if index else 0
        return self.block[start : int(self.ends[index])].decode("utf-8", "surrogatepass")

    def take(self, indices: np.ndarray) -> Texts:
        starts = np.concatenate([[0], self.ends])[indices].tolist()
        pieces = zip(starts, self.ends[indices].tolist(), strict=True)
        ends = (self.ends[indices] - starts).cumsum()
        return Texts(b"".join(self.block[start:end] for start, end in pieces), ends)


@dataclass(frozen=True)
class Digests:
    """Hex digests of 16 bytes, and none for an image that has none."""

    known: np.ndarray
    """(N,) bool."""
    values: np.ndarray
    """(N, 16) uint8."""

    @staticmethod
    def of(texts: Texts) -> Digests | Texts:
        """The texts themselves where they are no such digests."""
        block = bytearray()
        for text in texts:
            try:
                value = bytes.fromhex(text) if text else bytes(_DIGEST_BYTES)
            except ValueError:
                return texts
            if len(value) != _DIGEST_BYTES or value.hex() != (text or value.hex()):
                return texts
            block += value
        known = np.diff(texts.ends, prepend=0) > 0
        return Digests(known, np.frombuffer(bytes(block), np.uint8).reshape(-1, _DIGEST_BYTES))

    def __getitem__(self, index: int) -> str:
        return self.values[index].tobytes().hex() if self.known[index] else ""

    def take(self, indices: np.ndarray) -> Digests:
        return Digests(self.known[indices], self.values[indices])


@dataclass(frozen=True)
class Files:
    """Makes the `FileImage` of an image."""

    paths: Texts
    orientations: np.ndarray
    """(N,) uint8."""
    max_pixels: float

    def __getitem__(self, index: int) -> FileImage:
        return FileImage(Path(self.paths[index]), int(self.orientations[index]), self.max_pixels)

    def take(self, indices: np.ndarray) -> Files:
        return Files(self.paths.take(indices), self.orientations[indices], self.max_pixels)


@dataclass(frozen=True)
class Readers:
    """Whatever else reads an image: objects, as many as images."""

    readers: tuple[Callable[[], PIL.Image.Image], ...]

    def __getitem__(self, index: int) -> Callable[[], PIL.Image.Image]:
        return self.readers[index]

    def take(self, indices: np.ndarray) -> Readers:
        return Readers(tuple(self.readers[index] for index in indices.tolist()))


@dataclass(frozen=True)
class Windows:
    """Makes the reader of a window of a picture."""

    pictures: Files | Readers | Windows
    digests: Texts
    """Of the pictures."""
    numbers: np.ndarray
    """(N,) int64: of the picture …"""
    windows_xyxy: np.ndarray
    """(N, 4) int64: … and of what is shown of it."""
    whole: np.ndarray
    """(N,) bool: whether that is all of it."""

    def __getitem__(self, index: int) -> Callable[[], PIL.Image.Image]:
        number = int(self.numbers[index])
        if self.whole[index]:
            return self.pictures[number]
        x1, y1, x2, y2 = self.windows_xyxy[index].tolist()
        return WindowOf(self.pictures[number], (x1, y1, x2, y2), self.digests[number])

    def take(self, indices: np.ndarray) -> Windows:
        return Windows(
            self.pictures, self.digests, self.numbers[indices], self.windows_xyxy[indices], self.whole[indices]
        )
