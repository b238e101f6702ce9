"""From a data set to batches: the LightningDataModule."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import lightning as L
import torch
from lightning.pytorch.accelerators import CPUAccelerator
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors

from headstart.config.schema import AugmentConfig, DatasetConfig
from headstart.data import cache
from headstart.data.batch import Batch
from headstart.data.boxes import scale_boxes
from headstart.data.sampling import EpochSampler, stable_seed
from headstart.data.transforms import build_augmentation, resize, wrap_boxes
from headstart.data.types import AnnotatedImage, DatasetInfo, DetectionData, Size, Target
from headstart.data.workers import begin
from headstart.errors import UserError


class DetectionDataset(Dataset[tuple[Tensor, Target]]):
    """The images of one split, resized to `size`, and augmented where asked.

    Its keys are the `(epoch, index)` pairs of `EpochSampler`; a plain index stands for epoch 0.
    """

    def __init__(
        self,
        images: Sequence[AnnotatedImage],
        size: Size,
        cached: Sequence[Tensor] | None = None,
        augment: AugmentConfig | None = None,
        seed: int = 0,
    ) -> None:
        self.images = images
        self.size = size
        self.cached = cached
        self.augmentation = build_augmentation(augment) if augment else None
        self.seed = seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: tuple[int, int] | int) -> tuple[Tensor, Target]:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        pixels, target = self._read(index)
        if self.augmentation is None:
            return pixels, target
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: that would also seed the GPUs, whose state nobody gives back.
            torch.default_generator.manual_seed(stable_seed(self.seed, epoch, self.images[index].name))
            return self._augment(pixels, target)

    def _read(self, index: int) -> tuple[Tensor, Target]:
        image = self.images[index]
        pixels = self.cached[index] if self.cached is not None else cache.load(image, self.size)
        width, height = image.size_wh
        image_hw = (pixels.shape[-2], pixels.shape[-1])
        boxes = scale_boxes(torch.as_tensor(image.boxes_xyxy), (image_hw[1] / width, image_hw[0] / height))
        return pixels, Target(
            image_id=index,
            boxes_xyxy=boxes.float(),
            labels=torch.as_tensor(image.labels),
            crowd=torch.as_tensor(image.crowd),
            difficult=torch.as_tensor(image.difficult),
            area=torch.as_tensor(image.area, dtype=torch.float32),
            original_hw=(height, width),
            image_hw=image_hw,
        )

    def _augment(self, pixels: Tensor, target: Target) -> tuple[Tensor, Target]:
        assert self.augmentation is not None
        sample = target.per_object() | {"boxes_xyxy": wrap_boxes(target.boxes_xyxy, target.image_hw)}
        image, changed = self.augmentation(tv_tensors.Image(pixels), sample)
        # A crop is smaller: what it shows fills the picture again, stretched once more where pictures are.
        image, boxes = resize(image.as_subclass(Tensor), changed["boxes_xyxy"].as_subclass(Tensor), *self.size)
        image_hw = (image.shape[-2], image.shape[-1])
        return image, replace(target, **changed | {"boxes_xyxy": boxes}, image_hw=image_hw)


def collate(samples: Sequence[tuple[Tensor, Target]]) -> Batch:
    return Batch.of([image for image, _ in samples], [target for _, target in samples])


class DetectionDataModule(L.LightningDataModule):
    """Gives `Batch`es of the splits `train` (shuffled, augmented), `val` and `test` (in order, as they are).

    No image is left out, with one exception: a process's last training batch of a single image, which batch
    normalisation cannot use on feature maps of one pixel (SSDLite's last ones). It is another image in each epoch.
    """

    def __init__(
        self, data: DetectionData, info: DatasetInfo, config: DatasetConfig, augment: AugmentConfig, seed: int
    ) -> None:
        super().__init__()
        self.data = data
        self.info = info
        self.config = config
        self.augment = augment
        self.seed = seed
        self.first_epoch = 0
        self._cached: dict[str, list[Tensor] | None] = {}

    def state_dict(self) -> dict[str, Any]:
        """The epoch to come, as Lightning tells it the samplers."""
        if self.trainer is None:
            return {}
        progress: Any = self.trainer.fit_loop.epoch_progress.current
        return {"first_epoch": progress.processed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Lightning restores this before it makes the loaders, and its own count of epochs after."""
        self.first_epoch = state_dict["first_epoch"]

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader("train", self.augment)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """UserError where the data set has no such split."""
        return self._loader("test")

    def plain_batches(self, split: str, max_images: int) -> Iterator[Batch]:
        """Images spread over the split, as they are: the same in every process. All batches have one size."""
        dataset = self._dataset(split, None)
        count = min(max_images, len(dataset))
        size = min(self.config.batch_size, count)
        chosen = [number * len(dataset) // count for number in range(count)]
        for start in range(0, count - size + 1, size):
            yield collate([dataset[index] for index in chosen[start : start + size]])

    def whole(self, split: str) -> Iterator[Batch]:
        """All images in order, as they are, in batches of one size: the last is filled up with the last image."""
        dataset = self._dataset(split, None)
        size, last = min(self.config.batch_size, len(dataset)), len(dataset) - 1
        for start in range(0, len(dataset), size):
            yield collate([dataset[min(index, last)] for index in range(start, start + size)])

    def _loader(self, split: str, augment: AugmentConfig | None = None) -> DataLoader[Any]:
        dataset = self._dataset(split, augment)
        sampler = self._sampler(len(dataset), shuffle=split == "train")
        workers, batch_size = self._num_workers(), self.config.batch_size
        one_left = len(sampler) > batch_size and len(sampler) % batch_size == 1
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=workers,
            collate_fn=collate,
            drop_last=split == "train" and one_left,
            pin_memory=torch.cuda.is_available(),
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
            persistent_workers=workers > 0,
            worker_init_fn=begin,
        )

    def _num_workers(self) -> int:
        if self.config.num_workers is not None:
            return self.config.num_workers
        on_cpu = self.trainer is None or isinstance(self.trainer.accelerator, CPUAccelerator)
        return 0 if on_cpu else min(4, os.cpu_count() or 1)

    def _dataset(self, split: str, augment: AugmentConfig | None) -> DetectionDataset:
        images = self._images(split)
        size = self.info.size
        if split not in self._cached:
            self._cached[split] = cache.fill(images, self.config.cache, size, split)
        return DetectionDataset(images, size, self._cached[split], augment, self.seed)

    def _images(self, split: str) -> Sequence[AnnotatedImage]:
        if not self.data.splits.get(split):
            known = ", ".join(f"{name} ({len(images)} images)" for name, images in self.data.splits.items())
            raise UserError(f"Data set {self.data.name}: no images in the split `{split}`. It has: {known}.")
        return self.data.splits[split]

    def _sampler(self, num_images: int, shuffle: bool) -> EpochSampler:
        if self.trainer is None:
            return EpochSampler(num_images, self.seed, shuffle)
        sampler = EpochSampler(num_images, self.seed, shuffle, self.trainer.global_rank, self.trainer.world_size)
        # Workers start to read before Lightning tells the sampler the epoch: a resumed run would repeat epoch 0.
        sampler.set_epoch(max(self.trainer.current_epoch, self.first_epoch))
        return sampler
