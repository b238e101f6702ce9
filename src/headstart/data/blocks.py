"""Pictures as a batch takes them: read anew each time, or decoded and resized once into a few blocks of bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from headstart.data.canvases import Canvases
from headstart.data.reading import load
from headstart.data.types import AnnotatedImage, Size


class Pictures(Protocol):
    """Those of a split, resized."""

    def gather(self, indices: np.ndarray, canvas_hw: tuple[int, int]) -> Tensor:
        """(N, 3, H, W) uint8: each in the upper left corner of the canvas, which holds it; zeros beside it."""
        ...


@dataclass(frozen=True)
class Unread:
    """Pictures that are decoded each time."""

    images: Sequence[AnnotatedImage]
    size: Size

    def gather(self, indices: np.ndarray, canvas_hw: tuple[int, int]) -> Tensor:
        gathered = torch.zeros(len(indices), 3, *canvas_hw, dtype=torch.uint8)
        for place, index in zip(gathered, indices.tolist(), strict=True):
            pixels = load(self.images[index], self.size)
            place[:, : pixels.shape[-2], : pixels.shape[-1]] = pixels
        return gathered


@dataclass(frozen=True)
class Layout:
    """Which canvas each picture of a split lies on, and the how manieth it is there."""

    canvases: Canvases
    group: np.ndarray
    """(n,) numbers of canvases."""
    place: np.ndarray
    """(n,) numbers in the block of that canvas."""

    @staticmethod
    def of(sizes_hw: np.ndarray, canvases: Canvases) -> Layout:
        group = canvases.holding(sizes_hw)
        place = np.zeros_like(group)
        for number in range(len(canvases.sides_hw)):
            of_group = group == number
            place[of_group] = np.arange(of_group.sum())
        return Layout(canvases, group, place)

    @property
    def shapes(self) -> list[tuple[int, int, int, int]]:
        """(n, 3, H, W) of each block."""
        counts = np.bincount(self.group, minlength=len(self.canvases.sides_hw)).tolist()
        return [(count, 3, *sides) for count, sides in zip(counts, self.canvases.sides_hw, strict=True)]

    @property
    def num_bytes(self) -> int:
        return sum(int(np.prod(shape)) for shape in self.shapes)


@dataclass(frozen=True)
class Blocks:
    """Pictures in a uint8 block for each canvas, in memory, on a device or in a mapped file."""

    layout: Layout
    blocks: Sequence[Tensor]

    @staticmethod
    def filled(layout: Layout, device: torch.device, fill: Callable[[Callable[[int, Tensor], None]], None]) -> Blocks:
        """`fill` is told what takes each picture, by its number."""
        made = Blocks(layout, [torch.zeros(shape, dtype=torch.uint8, device=device) for shape in layout.shapes])
        fill(made._put)
        return made

    def _put(self, number: int, pixels: Tensor) -> None:
        place = self.blocks[self.layout.group[number]][self.layout.place[number]]
        place[:, : pixels.shape[-2], : pixels.shape[-1]] = pixels

    def gather(self, indices: np.ndarray, canvas_hw: tuple[int, int]) -> Tensor:
        groups, places = self.layout.group[indices], self.layout.place[indices]
        numbers, counts = np.unique(groups, return_counts=True)
        first = self.blocks[numbers[0]]
        if len(numbers) == 1 and first.shape[-2:] == canvas_hw:
            return _take(first, places)
        # Block after block, then in their order: rows that are copied one by one are slower by far.
        order, gathered, end = groups.argsort(kind="stable"), first.new_zeros(len(indices), 3, *canvas_hw), 0
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            block, start, end = self.blocks[number], end, end + count
            height, width = (min(pair) for pair in zip(block.shape[-2:], canvas_hw, strict=True))
            taken = _take(block, places[order[start:end]])
            gathered[start:end, :, :height, :width] = taken[..., :height, :width]
        return gathered if len(numbers) == 1 else _take(gathered, order.argsort())


def _take(block: Tensor, rows: np.ndarray) -> Tensor:
    return block.index_select(0, torch.from_numpy(rows).to(block.device, non_blocking=True))
