"""What the frozen front of a network made of each picture: computed in the first epoch of a phase, read back after."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headstart.config.schema import AugmentConfig
from headstart.data.batch import Batch
from headstart.data.dataset import rendered
from headstart.data.types import AnnotatedImage, Size
from headstart.detectors.interface import Detector, Features
from headstart.detectors.split import Cut, prefix_of, rest_of, still
from headstart.features.borders import tensors_through
from headstart.features.choose import LIMIT_BYTES, Choice
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

    images: Sequence[AnnotatedImage]
    batches: Callable[[AugmentConfig], Iterator[Batch]]
    """All of them, in order, shown so; the last batch is filled up."""


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
        self.files: dict[str, FeatureFile] = {}

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
            self.files = {split: self._file(split, detector, cut, arithmetic) for split in self.pictures}

    def check(self, detector: Detector) -> None:
        """Forgets what it holds where the prefix is not the one that it is of: a mixture's, or a recalibrated one."""
        if self.cut is not None and digest(detector, tensors_through(detector, self.cut.stage)) != self.weights:
            self.cut, self.files = None, {}

    def features(self, detector: Detector, split: str, batch: Batch) -> Features | None:
        """Of the pictures of a batch; None where they are not stored. Nothing here waits for the device."""
        file = self.files.get(split)
        if self.cut is None or file is None:
            return None
        images = len(self.pictures[split].images)
        numbers = torch.tensor([frame.view * images + frame.image_id for frame in batch.frames])
        tensors = _rows(file, numbers, batch.sizes_hw.device)
        return rest_of(detector, self.cut, tensors, batch.sizes_hw, self.choice.network_hw)

    def _file(self, split: str, detector: Detector, cut: Cut, arithmetic: Arithmetic) -> FeatureFile:
        path = self.folder / f"{self._key(split, detector, cut, arithmetic)}.features"
        path.parent.mkdir(parents=True, exist_ok=True)
        with turn(path, f"Waiting for another process, which computes {path}"):
            file = read(path)
            if file is None:
                file = self._computed(path, split, detector, cut, arithmetic)
            with suppress(FileNotFoundError):  # another process made room
                os.utime(path)
        return file.to(arithmetic.device) if _has_room(arithmetic.device, file.bytes) else file

    def _key(self, split: str, detector: Detector, cut: Cut, arithmetic: Arithmetic) -> str:
        pictures, views, size = self.pictures[split].images, self.choice.views[split], self.size
        return key(detector, cut, self.weights, pictures, views, (*size, self.choice.canvas_hw), arithmetic)

    def _computed(self, path: Path, split: str, detector: Detector, cut: Cut, arithmetic: Arithmetic) -> FeatureFile:
        images, views, began = len(self.pictures[split].images), self.choice.views[split], time.perf_counter()
        write(path, len(views) * images, self._outputs(split, detector, cut, arithmetic.device))
        file = read(path)
        assert file is not None, f"{path} does not hold what was written"
        seconds, size = time.perf_counter() - began, file.bytes / 1e6
        in_views = f" in {len(views)} views" if len(views) > 1 else ""
        say(f"Features of {images:,} {split} pictures{in_views}: {seconds:.1f} s, {size:,.0f} MB in {path}")
        make_room(self.folder, kept=path)
        return file

    def _outputs(self, split: str, detector: Detector, cut: Cut, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
        """View by view, in each all pictures."""
        pictures = self.pictures[split]
        for view in self.choice.views[split]:
            left = len(pictures.images)
            for batch in pictures.batches(view.augment):
                shown = rendered(batch.to(device)).on_canvas(self.choice.canvas_hw)
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
