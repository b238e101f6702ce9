"""What a frozen prefix gives for each picture, in a file: written whole or not at all, mapped into memory to be read.

An array for each tensor, a row for each picture, in the order of axes that the network's memory had; then what they
are, as JSON, and how long that is. Rows of several processes that read one file are in memory once.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from headstart.replacing import replacing

_LENGTH_BYTES = 8
_ALIGNED = 64
_AT_ONCE = 1 << 26
"""Bytes whose checksum is computed at a time."""


@dataclass
class Array:
    """One tensor of each picture."""

    shape: list[int]
    """In the order of `axes`."""
    axes: list[int]
    """Which axis of the tensor each axis of `shape` is, the pictures' not counted: [1, 2, 0] of (C, h, w) with the
    channels last."""
    dtype: str
    start: int = 0
    """Where its first row begins in the file."""
    checksum: int = 0

    @classmethod
    def of(cls, tensor: Tensor) -> Array:
        """`tensor` (N, …)."""
        axes = sorted(range(tensor.dim() - 1), key=lambda axis: -tensor.stride(axis + 1))
        shape = [tensor.shape[axis + 1] for axis in axes]
        return cls(shape, axes, str(tensor.dtype).removeprefix("torch."))

    @property
    def row_bytes(self) -> int:
        return prod(self.shape) * self.torch_dtype.itemsize

    @property
    def torch_dtype(self) -> torch.dtype:
        return getattr(torch, self.dtype)

    def as_stored(self, tensor: Tensor) -> Tensor:
        return tensor.permute(0, *(axis + 1 for axis in self.axes)).contiguous()

    def as_was(self, stored: Tensor) -> Tensor:
        return stored.permute(0, *(self.axes.index(axis) + 1 for axis in range(len(self.axes))))


def row_bytes(tensors: Sequence[Tensor]) -> int:
    """What one picture takes."""
    return sum(Array.of(tensor).row_bytes for tensor in tensors)


class FeatureFile:
    """The rows of a file, for as long as it is there: another process may have removed its name meanwhile."""

    def __init__(self, arrays: Sequence[Array], tensors: Sequence[Tensor]) -> None:
        self.arrays = arrays
        self.tensors = tensors

    def rows(self, numbers: Tensor) -> tuple[Tensor, ...]:
        """Of the pictures of these (N,) numbers, in memory of their own, laid out as the network had them."""
        found = (tensor.index_select(0, numbers) for tensor in self.tensors)
        return tuple(array.as_was(rows) for array, rows in zip(self.arrays, found, strict=True))

    def to(self, device: torch.device) -> FeatureFile:
        return FeatureFile(self.arrays, [tensor.to(device) for tensor in self.tensors])

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def device(self) -> torch.device:
        return self.tensors[0].device


def lying_in(folder: Path) -> list[tuple[float, int, Path]]:
    """(when it was last read, bytes, file) of each, that which was not read for longest first."""
    found = []
    for path in folder.glob("*.features"):
        with suppress(FileNotFoundError):  # another process makes room
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    return sorted(found)


def write(path: Path, rows: int, batches: Iterator[tuple[Tensor, ...]]) -> None:
    """`batches` of (N, …) tensors, `rows` in all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left_over in path.parent.glob(f".{path.name}.*"):
        left_over.unlink(missing_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        arrays: list[Array] = []
        done = 0
        for tensors in batches:
            if not arrays:
                arrays = _laid_out(tensors, rows)
                _reserve(file, arrays[-1].start + rows * arrays[-1].row_bytes)
            for array, tensor in zip(arrays, tensors, strict=True):
                _write_rows(file, array, array.as_stored(tensor.cpu()), done)
            done += len(tensors[0])
        assert done == rows, f"{done} of {rows} rows"
        described = json.dumps({"rows": rows, "arrays": [asdict(array) for array in arrays]}).encode()
        file.seek(0, os.SEEK_END)
        file.write(described + len(described).to_bytes(_LENGTH_BYTES, "little"))


def read(path: Path) -> FeatureFile | None:
    """None where it is not there, or is not what was written."""
    try:
        arrays, rows = _described(path)
        content = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)
        tensors = [_array(content, array, rows) for array in arrays]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError):
        return None
    sound = all(_checksum(tensor) == array.checksum for array, tensor in zip(arrays, tensors, strict=True))
    return FeatureFile(arrays, tensors) if sound else None


def _laid_out(tensors: Sequence[Tensor], rows: int) -> list[Array]:
    arrays, start = [Array.of(tensor) for tensor in tensors], 0
    for array in arrays:
        array.start = start
        start = -(-(start + rows * array.row_bytes) // _ALIGNED) * _ALIGNED
    return arrays


def _reserve(file: BinaryIO, size: int) -> None:
    """A full disk is met now rather than after an hour, where the file system can say so."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)


def _write_rows(file: BinaryIO, array: Array, stored: Tensor, done: int) -> None:
    content = _bytes(stored)
    array.checksum = zlib.crc32(content, array.checksum)
    file.seek(array.start + done * array.row_bytes)
    file.write(content)


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def _described(path: Path) -> tuple[list[Array], int]:
    with path.open("rb") as file:
        file.seek(-_LENGTH_BYTES, os.SEEK_END)
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        file.seek(-_LENGTH_BYTES - length, os.SEEK_END)
        found: dict[str, Any] = json.loads(file.read(length))
    return [Array(**array) for array in found["arrays"]], int(found["rows"])


def _array(content: Tensor, array: Array, rows: int) -> Tensor:
    end = array.start + rows * array.row_bytes
    return content[array.start : end].view(array.torch_dtype).view(rows, *array.shape)


def _checksum(tensor: Tensor) -> int:
    content = _bytes(tensor)
    found = 0
    for start in range(0, len(content), _AT_ONCE):
        found = zlib.crc32(content[start : start + _AT_ONCE], found)
    return found
