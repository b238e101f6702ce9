"""The images of one split as batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset
from torchvision import tv_tensors

from headstart.config.schema import AugmentConfig
from headstart.data.batch import Batch
from headstart.data.blocks import Pictures, Unread
from headstart.data.canvases import Canvases, Padding, both_ways
from headstart.data.objects import Objects, padded_rows, resized_sizes_hw
from headstart.data.sampling import stable_seed
from headstart.data.table import ImageTable
from headstart.data.transforms import build_augmentation, resize, wrap_boxes
from headstart.data.types import AnnotatedImage, Size, Target

Key = tuple[int, int] | int
"""Epoch and index, as `EpochSampler` gives them; a plain index stands for epoch 0."""


def canvases_for(
    splits: Sequence[ImageTable], size: Size, augment: AugmentConfig | None, padding: Padding | None = None
) -> Canvases:
    """That hold every picture of the splits, and what a crop may make of one."""
    sizes = [resized_sizes_hw(images, size) for images in splits]
    cropped = [both_ways((size.min_size, size.max_size))] if augment and augment.crop > 0 else []
    return Canvases.of(np.concatenate([*sizes, *cropped]), padding)


class DetectionDataset(Dataset[tuple[Tensor, Target]]):
    """The images of one split, resized to `size`, and augmented where asked.

    `pictures` are them as they are kept; None: read anew each time. `canvases` and `rows` are what batches are padded
    to; None: what this split needs.
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
    ) -> None:
        self.images = ImageTable.of(images)
        self.size = size
        self.objects = Objects.of(self.images, size, rows or padded_rows(self.images))
        self.pictures = pictures or Unread(self.images, size)
        self.canvases = canvases or canvases_for([self.images], size, augment)
        self.augmentation = build_augmentation(augment) if augment else None
        self.seed = seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: Key) -> tuple[Tensor, Target]:
        """One image: (3, h, w) uint8, without padding, and what it shows."""
        return self.__getitems__([key]).per_image()[0]

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """As the loader asks for them; all keys are of one epoch."""
        epochs, indices = np.array([key if isinstance(key, tuple) else (0, key) for key in keys]).T
        batch = self._plain(indices)
        return batch if self.augmentation is None else self._augmented(batch, int(epochs[0]))

    def _plain(self, indices: np.ndarray) -> Batch:
        sizes_hw = self.objects.sizes_hw[indices]
        images = self.pictures.gather(indices, self.canvases.of_batch(sizes_hw))
        return Batch(images, torch.from_numpy(sizes_hw), self.objects.take(indices), self.objects.frames(indices))

    def _augmented(self, batch: Batch, epoch: int) -> Batch:
        images, targets = zip(*(self._one(*sample, epoch) for sample in batch.per_image()), strict=True)
        changed = Batch.of(images, targets, self.objects.rows)
        height, width = self.canvases.of_batch(changed.sizes_hw.numpy())
        right, below = width - changed.images.shape[-1], height - changed.images.shape[-2]
        changed.images = functional.pad(changed.images, (0, right, 0, below))
        return changed

    def _one(self, pixels: Tensor, target: Target, epoch: int) -> tuple[Tensor, Target]:
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: that would also seed the GPUs, whose state nobody gives back.
            torch.default_generator.manual_seed(stable_seed(self.seed, epoch, self.images.names[target.image_id]))
            return self._augment(pixels, target)

    def _augment(self, pixels: Tensor, target: Target) -> tuple[Tensor, Target]:
        assert self.augmentation is not None
        sample = target.per_object() | {"boxes_xyxy": wrap_boxes(target.boxes_xyxy, target.image_hw)}
        image, changed = self.augmentation(tv_tensors.Image(pixels), sample)
        # A crop is smaller: what it shows fills the picture again, stretched once more where pictures are.
        image, boxes = resize(image.as_subclass(Tensor), changed["boxes_xyxy"].as_subclass(Tensor), *self.size)
        image_hw = (image.shape[-2], image.shape[-1])
        return image, replace(target, **changed | {"boxes_xyxy": boxes}, image_hw=image_hw)
