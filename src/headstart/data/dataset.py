"""The images of one split as batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from headstart.config.schema import AugmentConfig
from headstart.data.augment import Changes, draw
from headstart.data.batch import Batch, Targets
from headstart.data.blocks import Pictures, Unread
from headstart.data.canvases import Canvases
from headstart.data.draws import image_keys, name_digests
from headstart.data.objects import Frames, Objects, padded_rows
from headstart.data.render import render
from headstart.data.table import ImageTable
from headstart.data.types import AnnotatedImage, Size, Target
from headstart.data.views import View, shown_in, views

Key = tuple[int, int] | int
"""Epoch and index, as `EpochSampler` gives them; a plain index stands for epoch 0."""


@dataclass(frozen=True)
class Known:
    """When nobody looks at the pixels of a split, for what the network makes of them is stored."""

    phases: Mapping[int, bool] = field(default_factory=dict)
    """Of a fit: epochs done when each begins -> whether that is so in it."""

    def at(self, epoch: int) -> bool:
        begun = [start for start in self.phases if start <= epoch]
        return bool(begun) and self.phases[max(begun)]

    @property
    def always(self) -> bool:
        return bool(self.phases) and all(self.phases.values())


class DetectionDataset(Dataset[tuple[Tensor, Target]]):
    """The images of one split, resized to `size`, and augmented where asked.

    `pictures` are them as they are kept; None: read anew each time. `canvases` and `rows` are what batches are padded
    to; None: what this split needs. In epochs that are `known` no picture is read.
    """

    def __init__(
        self,
        images: Sequence[AnnotatedImage],
        size: Size,
        pictures: Pictures | None = None,
        canvases: Canvases | None = None,
        rows: int | None = None,
        augment: AugmentConfig | None = None,
        seed: int = 0,
        known: Known | None = None,
    ) -> None:
        self.images = ImageTable.of(images)
        self.size = size
        self.objects = Objects.of(self.images, size, rows or padded_rows(self.images))
        self.pictures = pictures or Unread(self.images, size)
        self.canvases = canvases or Canvases.of(self.objects.sizes_hw)
        self.augment = augment or View().augment
        self.seed = seed
        self.known = known or Known()
        self.drawing: Callable[[], AbstractContextManager[Any]] = nullcontext
        """Around the draws of an augmentation: whoever looks where time goes puts something else here."""
        self._digests = name_digests(self.images.names)
        self._has_views = views(self.augment) is not None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: Key) -> tuple[Tensor, Target]:
        """One image: (3, h, w) uint8, without padding, and what it shows."""
        return rendered(self.__getitems__([key])).per_image()[0]

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """As the loader asks for them; what is `pending` of it is for the device to do (`rendered`)."""
        epochs, indices = np.array([key if isinstance(key, tuple) else (0, key) for key in keys]).T
        sizes_hw = self.objects.sizes_hw[indices]
        draws = image_keys(self.seed, epochs, self._digests[indices])
        pending, targets, shown_hw = self._drawn(draws, indices)
        in_views = shown_in(self.augment, draws) if self._has_views else np.zeros(len(indices), np.int64)
        frames = Frames(indices, self.objects.original_hw[indices], shown_hw, in_views)
        if self.known.at(int(epochs[0])):
            nothing = torch.zeros(len(indices), 3, 0, 0, dtype=torch.uint8)
            return Batch(nothing, torch.from_numpy(shown_hw), targets, frames)
        canvas_hw = self.canvases.of_batch(np.concatenate([sizes_hw, shown_hw]))
        images = self.pictures.gather(indices, canvas_hw)
        return Batch(images, torch.from_numpy(sizes_hw), targets, frames, pending)

    def _drawn(self, keys: np.ndarray, indices: np.ndarray) -> tuple[Changes | None, Targets, np.ndarray]:
        """What is to be done to the pixels, the objects after it, and the heights and widths that are shown then."""
        targets, sizes_hw = self.objects.take(indices), self.objects.sizes_hw[indices]
        canvases_hw = np.asarray(self.canvases.sides_hw)[self.canvases.holding(sizes_hw)]
        objects = {name: column.numpy() for name, column in vars(targets).items()}
        with self.drawing():
            pending, objects, shown_hw = draw(self.augment, self.size, keys, sizes_hw, objects, canvases_hw)
        return pending, Targets(**{name: torch.from_numpy(column) for name, column in objects.items()}), shown_hw


def rendered(batch: Batch) -> Batch:
    """The batch with nothing pending, on whatever device it is."""
    if batch.pending is None:
        return batch
    canvas_hw = (batch.images.shape[-2], batch.images.shape[-1])
    images = render(batch.images, batch.sizes_hw, batch.pending, canvas_hw)
    return Batch(images, batch.pending.sizes_hw, batch.targets, batch.frames)
