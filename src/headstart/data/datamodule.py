"""From a data set to batches: the LightningDataModule."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.utils.data import DataLoader

from headstart.config.schema import AugmentConfig, Cache, DatasetConfig
from headstart.data.batch import Batch
from headstart.data.blocks import Pictures, Unread
from headstart.data.canvases import Canvases
from headstart.data.dataset import DetectionDataset, Known, rendered
from headstart.data.keeping import Place, keep
from headstart.data.objects import padded_rows, resized_sizes_hw
from headstart.data.sampling import EpochSampler, OnOneCanvas
from headstart.data.table import ImageTable
from headstart.data.tiles import in_tiles, report
from headstart.data.truth import KnownTruth, truth_of
from headstart.data.types import DatasetInfo, DetectionData
from headstart.data.workers import begin
from headstart.errors import UserError

_WHERE = {Cache.memory: "in memory", Cache.device: "on the GPU"}


def collate(batch: Any) -> Batch:
    """`DetectionDataset` gives batches already."""
    return batch


class DetectionDataModule(L.LightningDataModule):
    """Gives `Batch`es of the splits `train` (shuffled, augmented), `val` and `test` (in order, as they are).

    No image is left out, with one exception: a process's last training batch of a single image, which batch
    normalisation cannot use on feature maps of one pixel (SSDLite's last ones). It is another image in each epoch.
    """

    def __init__(
        self,
        data: DetectionData,
        info: DatasetInfo,
        config: DatasetConfig,
        augment: AugmentConfig,
        seed: int,
        place: Place | None = None,
    ) -> None:
        """Raises `UserError` where `dataset.cache` cannot be obeyed."""
        super().__init__()
        self.data = data
        self.seen, self.views = in_tiles(data, config.tile)
        self.info = info
        self.config = config
        self.augment = augment
        self.seed = seed
        self.first_epoch = 0
        self.known = Known()
        """Of the splits that are read in a fit."""
        place = place or Place()
        splits = {split: ImageTable.of(images) for split, images in self.seen.splits.items() if images}
        sizes = [resized_sizes_hw(images, info.size) for images in splits.values()]
        self.canvases = Canvases.of(np.concatenate(sizes), place.padding)
        self.keeping = keep(splits, info.size, self.canvases, config, place)
        self._splits = splits
        self._pictures: dict[str, Pictures] = {}
        self._truth: dict[str, KnownTruth] = {}

    def report(self) -> list[str]:
        """How batches are made, and which settings have no part in it."""
        tiles = report(self.seen, self.views)
        lines = [
            *([tiles] if tiles else []),
            f"Canvases: {self.canvases}",
            f"Cache: {self.keeping.kind.value}, {self.keeping.words}",
        ]
        workers, kind = self.config.num_workers, self.keeping.kind
        if workers and not self._needs_workers():
            lines.append(
                f"- dataset.num_workers={workers} has no effect: images lie {_WHERE[kind]}, and no process reads them "
                "(dataset.cache=none decodes them each time)."
            )
        return lines

    def resolved(self) -> dict[str, Any]:
        """For the record: what `dataset.cache` and the data came to."""
        return {"cache": self.keeping.kind.value, "canvases": str(self.canvases)}

    def truth(self, split: str) -> KnownTruth:
        """What is to be found in the pictures of a split, whole ones, in full precision; read from the data once."""
        if split not in self._truth:
            fingerprint = self.info.fingerprints.get(split, "")
            self._truth[split] = truth_of(self._whole_pictures(split), self.info.class_names, fingerprint)
        return self._truth[split]

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

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Here and not in the module: Lightning warns of one that does a data module's work."""
        return rendered(batch)

    def plain_batches(self, split: str, max_images: int) -> Iterator[Batch]:
        """Images spread over the split, as they are: the same in every process. All batches have one size."""
        dataset = self._dataset(split, None)
        count = min(max_images, len(dataset))
        size = min(self.config.batch_size, count)
        chosen = [number * len(dataset) // count for number in range(count)]
        for start in range(0, count - size + 1, size):
            yield dataset.__getitems__(chosen[start : start + size])

    def one(self, split: str, index: int) -> Tensor:
        """(3, h, w) uint8: a picture as a detector sees it, without padding."""
        return self._dataset(split, None)[index][0]

    def whole(
        self, split: str, augment: AugmentConfig | None = None, numbers: np.ndarray | None = None
    ) -> Iterator[Batch]:
        """All images in order, or those of the (n,) `numbers`, as they are, or as `augment` shows them, in batches of
        one size: the last is filled up with the last image."""
        dataset = self._dataset(split, augment)
        chosen = list(range(len(dataset))) if numbers is None else numbers.tolist()
        size = min(self.config.batch_size, len(chosen))
        for start in range(0, len(chosen), size):
            batch = chosen[start : start + size]
            yield dataset.__getitems__(batch + chosen[-1:] * (size - len(batch)))

    def pictured(self, split: str, batch: Batch) -> Batch:
        """The batch with pixels, as they are, also where it had no need of them."""
        if batch.has_pixels:
            return batch
        images, indices = self._images(split), np.array([frame.image_id for frame in batch.frames])
        pictures = self._pictures.get(split) or Unread(images, self.info.size)
        canvas_hw = self.canvases.of_batch(resized_sizes_hw(images, self.info.size)[indices])
        pixels = pictures.gather(indices, canvas_hw).to(batch.images.device)
        return Batch(pixels, batch.sizes_hw, batch.targets, batch.frames)

    def _loader(self, split: str, augment: AugmentConfig | None = None) -> DataLoader[Any]:
        fits = self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING
        dataset = self._dataset(split, augment, self.known if fits else Known())
        sampler = self._sampler(len(dataset), shuffle=split == "train")
        workers, batch_size = 0 if dataset.known.always else self._num_workers(), self.config.batch_size
        one_left = len(sampler) > batch_size and len(sampler) % batch_size == 1
        how: dict[str, Any] = {"batch_size": batch_size, "sampler": sampler, "drop_last": one_left}
        if split != "train":
            how = {"batch_sampler": OnOneCanvas(sampler, self._own_canvases(split), batch_size)}
        return DataLoader(
            dataset,
            **how,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available() and self.keeping.kind is not Cache.device,
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
            persistent_workers=workers > 0,
            worker_init_fn=begin,
        )

    def _own_canvases(self, split: str) -> np.ndarray:
        """(n,) numbers of the smallest canvas that holds each picture."""
        return self.canvases.holding(resized_sizes_hw(self._images(split), self.info.size))

    def _num_workers(self) -> int:
        if not self._needs_workers():
            return 0
        if self.config.num_workers is not None:
            return self.config.num_workers
        on_cpu = self.trainer is None or isinstance(self.trainer.accelerator, CPUAccelerator)
        return 0 if on_cpu else min(4, os.cpu_count() or 1)

    def _needs_workers(self) -> bool:
        return self.keeping.kind in (Cache.none, Cache.disk)

    def _dataset(self, split: str, augment: AugmentConfig | None, known: Known | None = None) -> DetectionDataset:
        images, size = self._images(split), self.info.size
        pictures = None if known and known.always else self._kept(split)
        rows = max(padded_rows(self._splits[name]) for name in {"train", split} & self._splits.keys())
        return DetectionDataset(images, size, pictures, self.canvases, rows, augment, self.seed, known)

    def _kept(self, split: str) -> Pictures:
        """Decoded where nobody did that before."""
        if split not in self._pictures:
            # An evaluation may be what asks first, and threads that fill it are not in it.
            with torch.inference_mode(False):
                self._pictures[split] = self.keeping.pictures(self._splits[split], split)
        return self._pictures[split]

    def _whole_pictures(self, split: str) -> ImageTable:
        return self.views[split].pictures if split in self.views else self._images(split)

    def _images(self, split: str) -> ImageTable:
        if split not in self._splits:
            known = ", ".join(f"{name} ({len(images)} images)" for name, images in self.data.splits.items())
            raise UserError(f"Data set {self.data.name}: no images in the split `{split}`. It has: {known}.")
        return self._splits[split]

    def _sampler(self, num_images: int, shuffle: bool) -> EpochSampler:
        if self.trainer is None:
            return EpochSampler(num_images, self.seed, shuffle)
        sampler = EpochSampler(num_images, self.seed, shuffle, self.trainer.global_rank, self.trainer.world_size)
        # Workers start to read before Lightning tells the sampler the epoch: a resumed run would repeat epoch 0.
        sampler.set_epoch(max(self.trainer.current_epoch, self.first_epoch))
        return sampler
