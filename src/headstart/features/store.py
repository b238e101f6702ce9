"""What the frozen front of a network made of each picture: computed in the first epoch of a phase, read back after."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.config.schema import AugmentConfig
from headstart.data.batch import Batch
from headstart.data.dataset import rendered
from headstart.data.table import ImageTable
from headstart.data.types import Size
from headstart.detectors.interface import Detector, Features
from headstart.detectors.split import Cut, prefix_of, rest_of, still
from headstart.features.borders import tensors_through
from headstart.features.choose import LIMIT_BYTES, Choice, Shelf
from headstart.features.files import FeatureFile, lying_in, read, write
from headstart.features.key import Arithmetic, key
from headstart.say import say
from headstart.transfer.proof import digest
from headstart.turns import turn

DEVICE_SHARE = 0.5
"""Of a GPU's free memory, that the features of a split may take there."""


@dataclass(frozen=True)
class Pictures:
    """Where those of a split come from."""

    images: ImageTable
    batches: Callable[[AugmentConfig, np.ndarray], Iterator[Batch]]
    """Those of the (n,) numbers, in order, shown so; the last batch is filled up."""


class Store:
    """Of a run: the files of the phase that it is in. Copies of a network share it."""

    def __init__(self, choice: Choice, folder: Path, size: Size, pictures: dict[str, Pictures]) -> None:
        self.choice = choice
        self.folder = folder
        self.size = size
        self.pictures = pictures
        self.cut: Cut | None = None
        self.weights = ""
        """Digest of the prefix that the files are of."""
        self.files: list[FeatureFile] = []
        """Of the shelves."""
        self.rows = {split: np.full((2, len(of.images)), -1) for split, of in pictures.items()}
        """Of each split's pictures: the shelf, and the row in it."""
        for number, shelf in enumerate(choice.shelves):
            self.rows[shelf.split][:, shelf.numbers] = (
                np.full(len(shelf.numbers), number),
                np.arange(len(shelf.numbers)),
            )

    def __deepcopy__(self, memo: Any) -> Store:
        return self

    @torch.inference_mode(False)  # a validation may be what comes first
    def begin(self, phase_start: int, detector: Detector, arithmetic: Arithmetic) -> None:
        """The phase that began after so many epochs is the run's: its files are there after this."""
        cut = self.choice.cuts.get(phase_start)
        if cut is None or cut is self.cut:
            self.cut = cut
            return
        self.cut, self.weights = cut, digest(detector, tensors_through(detector, cut.stage))
        with still(detector), arithmetic.context():
            self.files = [self._file(shelf, detector, cut, arithmetic) for shelf in self.choice.shelves]

    def check(self, detector: Detector) -> None:
        """Forgets what it holds where the prefix is not the one that it is of: a mixture's, or a recalibrated one."""
        if self.cut is not None and digest(detector, tensors_through(detector, self.cut.stage)) != self.weights:
            self.cut, self.files = None, []

    def features(self, detector: Detector, split: str, batch: Batch) -> Features | None:
        """Of the pictures of a batch; None where they are not stored, or not on one canvas. Nothing here waits for the
        device."""
        if self.cut is None or split not in self.rows:
            return None
        on, rows = self.rows[split][:, [frame.image_id for frame in batch.frames]]
        if on[0] < 0 or (on != on[0]).any():
            return None
        shelf, views = self.choice.shelves[on[0]], np.array([frame.view for frame in batch.frames])
        numbers = torch.from_numpy(views * len(shelf.numbers) + rows)
        tensors = _rows(self.files[on[0]], numbers, batch.sizes_hw.device)
        return rest_of(detector, self.cut, tensors, batch.sizes_hw, shelf.network_hw)

    def _file(self, shelf: Shelf, detector: Detector, cut: Cut, arithmetic: Arithmetic) -> FeatureFile:
        path = self.folder / f"{self._key(shelf, detector, cut, arithmetic)}.features"
        path.parent.mkdir(parents=True, exist_ok=True)
        with turn(path, f"Waiting for another process, which computes {path}"):
            file = read(path)
            if file is None:
                file = self._computed(path, shelf, detector, cut, arithmetic)
            with suppress(FileNotFoundError):  # another process made room
                os.utime(path)
        return file.to(arithmetic.device) if _has_room(arithmetic.device, file.bytes) else file

    def _key(self, shelf: Shelf, detector: Detector, cut: Cut, arithmetic: Arithmetic) -> str:
        images = self.pictures[shelf.split].images
        pictures = (images[int(number)] for number in shelf.numbers)
        return key(detector, cut, self.weights, pictures, shelf.views, (*self.size, shelf.canvas_hw), arithmetic)

    def _computed(self, path: Path, shelf: Shelf, detector: Detector, cut: Cut, arithmetic: Arithmetic) -> FeatureFile:
        images, views, began = len(shelf.numbers), shelf.views, time.perf_counter()
        write(path, len(views) * images, self._outputs(shelf, detector, cut, arithmetic.device))
        file = read(path)
        assert file is not None, f"{path} does not hold what was written"
        seconds, size = time.perf_counter() - began, file.bytes / 1e6
        in_views = f" in {len(views)} views" if len(views) > 1 else ""
        say(f"Features of {images:,} {shelf.split} pictures{in_views}: {seconds:.1f} s, {size:,.0f} MB in {path}")
        make_room(self.folder, kept=path)
        return file

    def _outputs(
        self, shelf: Shelf, detector: Detector, cut: Cut, device: torch.device
    ) -> Iterator[tuple[Tensor, ...]]:
        """View by view, in each all pictures."""
        for view in shelf.views:
            left = len(shelf.numbers)
            for batch in self.pictures[shelf.split].batches(view.augment, shelf.numbers):
                shown = rendered(batch.to(device)).on_canvas(shelf.canvas_hw)
                yield tuple(tensor[:left] for tensor in prefix_of(detector, cut, shown))
                left -= len(batch)


def make_room(folder: Path, kept: Path) -> None:
    """Removes the files that were not read for longest, until the folder holds no more than the limit. Who reads one
    of them now goes on reading it."""
    files = lying_in(folder)
    over = sum(size for _, size, _ in files) - LIMIT_BYTES
    for _, size, path in files:
        if over > 0 and path != kept:
            over -= size
            path.unlink(missing_ok=True)


def _rows(file: FeatureFile, numbers: Tensor, device: torch.device) -> tuple[Tensor, ...]:
    """On `device`, without waiting for it."""
    if device.type != "cuda":
        return file.rows(numbers)
    if file.device.type == "cuda":
        return file.rows(numbers.pin_memory().to(device, non_blocking=True))
    return tuple(rows.pin_memory().to(device, non_blocking=True) for rows in file.rows(numbers))


def _has_room(device: torch.device, size: int) -> bool:
    """Whether a GPU has, for that many bytes."""
    return device.type == "cuda" and size < DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]
