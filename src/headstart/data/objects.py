"""What the images of a split show, in arrays: the padded targets of a batch are taken from them for all its images at
once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import torch
from torch import Tensor

from headstart.config.schema import Resize
from headstart.data.batch import Frame, Targets
from headstart.data.sizes import resized_wh
from headstart.data.table import ImageTable
from headstart.data.types import Size

MULTIPLE = 8
"""Of which the number of padded rows is one."""
_TYPES = {
    "boxes_xyxy": np.float32,
    "labels": np.int64,
    "crowd": np.bool_,
    "difficult": np.bool_,
    "area": np.float32,
}


def padded_rows(images: ImageTable) -> int:
    """The most objects of one image, rounded up."""
    most = int(np.diff(images.ends, prepend=0).max(initial=1))
    return -(-most // MULTIPLE) * MULTIPLE


def resized_sizes_hw(images: ImageTable, size: Size) -> np.ndarray:
    """(n, 2) int64: heights and widths that a detector sees."""
    stretched = size.resize is Resize.stretch
    return resized_wh(images.sizes_wh, size.min_size, size.max_size, stretched)[:, ::-1].copy()


@dataclass(frozen=True)
class Frames(Sequence[Frame]):
    """As columns; a `Frame` is made when it is asked for."""

    image_ids: np.ndarray
    """(N,) int64."""
    original_hw: np.ndarray
    """(N, 2) int64."""
    image_hw: np.ndarray
    """(N, 2) int64."""
    views: np.ndarray
    """(N,) int64."""

    def __len__(self) -> int:
        return len(self.image_ids)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Frames: ...
    def __getitem__(self, index: int | slice) -> Frame | Frames:
        if isinstance(index, slice):
            return Frames(*(column[index] for column in vars(self).values()))
        original, seen = self.original_hw[index].tolist(), self.image_hw[index].tolist()
        return Frame(int(self.image_ids[index]), tuple(original), tuple(seen), int(self.views[index]))


@dataclass(frozen=True)
class Objects:
    """Of a split, in the pixels that a detector sees. Not padded: one crowded image does not cost room for all."""

    rows: int
    """Of padded targets."""
    starts: Tensor
    """(n,) int64: where each image's objects begin in the columns …"""
    counts: Tensor
    """(n,) int64: … and how many they are."""
    columns: dict[str, Tensor]
    """As in `Targets`, (M + 1, …): those of all images, and one of zeros for what is absent."""
    original_hw: np.ndarray
    """(n, 2) int64."""
    sizes_hw: np.ndarray
    """(n, 2) int64: as a detector sees them."""

    @staticmethod
    def of(images: ImageTable, size: Size, rows: int) -> Objects:
        seen_hw, counts = resized_sizes_hw(images, size), np.diff(images.ends, prepend=0)
        ratios = (seen_hw[:, ::-1] / images.sizes_wh)[images.owners()]
        found = images.objects | {"boxes_xyxy": images.objects["boxes_xyxy"] * np.tile(ratios, 2)}
        return Objects(
            rows,
            torch.from_numpy(images.ends - counts),
            torch.from_numpy(counts),
            {name: _with_none(found[name].astype(kind)) for name, kind in _TYPES.items()},
            images.sizes_wh[:, ::-1].copy(),
            seen_hw,
        )

    def take(self, indices: np.ndarray) -> Targets:
        """Of the images of these numbers."""
        chosen, nth = torch.from_numpy(indices), torch.arange(self.rows)
        present = nth < self.counts[chosen, None]
        where = torch.where(present, self.starts[chosen, None] + nth, len(self.columns["labels"]) - 1)
        return Targets(present, **{name: column[where] for name, column in self.columns.items()})


def _with_none(column: np.ndarray) -> Tensor:
    return torch.from_numpy(np.concatenate([column, np.zeros((1, *column.shape[1:]), column.dtype)]))
