"""Whether the outputs of what a plan freezes are to be stored, behind which stage in which phase, and why not."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from headstart.config.schema import AugmentConfig, FeatureStore, RunConfig, TrainerConfig
from headstart.data.batch import Batch
from headstart.data.canvases import Canvases
from headstart.data.keeping import cache_folder
from headstart.data.objects import resized_sizes_hw
from headstart.data.table import ImageTable
from headstart.data.types import DetectionData, Size
from headstart.data.views import View, views
from headstart.detectors.interface import Detector
from headstart.detectors.split import CannotSplit, Cut, cut_behind, prefix_of, still
from headstart.errors import UserError
from headstart.features.borders import frozen_front
from headstart.features.files import lying_in, row_bytes
from headstart.replacing import existing
from headstart.transfer.types import TransferPlan

SPLITS = ("train", "val")
LIMIT_BYTES = 8 * 1024**3
"""Of all files in the folder: those not read for longest make room. `feature_store=auto` stores no more."""
SAVED_EPOCHS = 1
"""Of a phase, so many at least, for which storing pays: each view takes the time of one."""


@dataclass(frozen=True, eq=False)
class Shelf:
    """Pictures of one split whose features lie in one file."""

    split: str
    numbers: np.ndarray
    """(n,) rows of the split."""
    canvas_hw: tuple[int, int]
    """That every one of them lies on …"""
    network_hw: tuple[int, int]
    """… and what the detector makes of that."""
    views: tuple[View, ...]
    """In which they are stored."""


@dataclass(frozen=True)
class Choice:
    """What is stored in a run."""

    cuts: dict[int, Cut] = field(default_factory=dict)
    """Epochs done when a phase begins -> the border behind which its features are stored."""
    shelves: tuple[Shelf, ...] = ()
    notes: tuple[str, ...] = ()
    """For the user: what is stored, or why nothing is."""

    def as_dict(self) -> dict[str, str]:
        """Phase -> stage, for the record."""
        return {str(start): cut.stage for start, cut in self.cuts.items()}


def choose(
    config: RunConfig,
    data: DetectionData,
    size: Size,
    canvases: Canvases,
    detector: Detector,
    plan: TransferPlan,
    precision: str,
    needs_pictures: str = "",
) -> Choice:
    """`size`: of the pictures; `canvases`: of their batches; `precision`: that the run computes in; `needs_pictures`
    names what looks at the pictures in every step.

    Raises `UserError` where `strategy.feature_store=on` cannot be obeyed.
    """
    wanted = config.strategy.feature_store
    if wanted is FeatureStore.off:
        return Choice()
    fronts = {phase.start_epoch: frozen_front(detector, phase) for phase in plan.phases}
    fronts = {start: front for start, front in fronts.items() if front}
    try:
        for reason in _reasons(config, data, fronts, needs_pictures):
            raise _Declined(reason)
        if wanted is FeatureStore.auto:
            fronts = _that_pay(config, data, plan, fronts)
        with still(detector):
            shelves = shelves_of(config, data, size, canvases, detector)
            return _fitting(config, shelves, detector, fronts, half="16" in precision)
    except _Declined as declined:
        if wanted is FeatureStore.on:
            raise UserError(f"strategy.feature_store=on cannot be obeyed: {declined}") from None
        return Choice(notes=(f"what is frozen is computed in each epoch: {declined}",) if fronts else ())


class _Declined(Exception):
    """Nothing is stored; says why."""


def _reasons(
    config: RunConfig, data: DetectionData, fronts: dict[int, list[str]], needs_pictures: str
) -> Iterator[str]:
    if not fronts:
        yield f"strategy={config.strategy.name} freezes no stage whole in front of the first one that trains"
    if needs_pictures:
        yield f"strategy.{needs_pictures} looks at the pictures in every step"
    if views(config.augment) is None:
        yield (
            f"augment={config.augment.name} shows a picture differently in each epoch (augment=none shows it as it "
            "is, augment=views in a few views)"
        )
    if not all(all(ImageTable.of(data.splits.get(split, ())).digests) for split in SPLITS):
        yield "some pictures of the data set have no digest to know them again by"


def _that_pay(
    config: RunConfig, data: DetectionData, plan: TransferPlan, fronts: dict[int, list[str]]
) -> dict[int, list[str]]:
    trainer, batch_size = config.trainer, config.dataset.batch_size
    for name in ("fast_dev_run", "limit_train_batches", "limit_val_batches", "overfit_batches"):
        value = getattr(trainer, name)
        if value and repr(value) != "1.0":  # a number of batches, or a share of them
            raise _Declined(f"trainer.{name}={value} reads only some of the pictures")
    ends = [*(phase.start_epoch for phase in plan.phases[1:]), _epochs(trainer, len(data.splits["train"]), batch_size)]
    lengths = {phase.start_epoch: end - phase.start_epoch for phase, end in zip(plan.phases, ends, strict=True)}
    least = len(views(config.augment) or ()) + SAVED_EPOCHS
    paying = {start: front for start, front in fronts.items() if lengths[start] >= least}
    if not paying:
        raise _Declined(f"no phase that freezes a stage lasts for {least} epochs")
    return paying


def _epochs(trainer: TrainerConfig, images: int, batch_size: int) -> float:
    """At most."""
    epochs = math.inf if trainer.max_epochs in (None, -1) else trainer.max_epochs
    steps = math.inf if trainer.max_steps == -1 else trainer.max_steps / math.ceil(images / batch_size)
    return min(epochs, steps)


def _fitting(
    config: RunConfig, shelves: Sequence[Shelf], detector: Detector, fronts: dict[int, list[str]], half: bool
) -> Choice:
    canvas_hw = shelves[0].canvas_hw
    cuts, why = _cuts(detector, fronts, _some_picture(canvas_hw))
    sizes = {cut.stage: _bytes(detector, cut, shelves) // (2 if half else 1) for cut in cuts.values()}
    folder = folder_of(config)
    images = sum(len(shelf.numbers) for shelf in shelves)
    own = ", those of val on their own" if any(shelf.canvas_hw != canvas_hw for shelf in shelves) else ""
    _refuse_too_much(config.strategy.feature_store, sum(sizes.values()), folder)
    notes = [
        f"features behind {stage} are computed once for each of {images:,} pictures, {_in_views(config.augment)}, on a "
        f"canvas of {canvas_hw[0]} x {canvas_hw[1]}{own}, and read back: {_mb(size)} in {folder}"
        for stage, size in sizes.items()
    ]
    return Choice(cuts, tuple(shelves), (*why, *notes))


def shelves_of(
    config: RunConfig, data: DetectionData, size: Size, canvases: Canvases, detector: Detector
) -> list[Shelf]:
    """Training's pictures on the largest canvas, that of nearly every mixed batch; validation's each on the smallest
    that holds it, as an evaluation has them."""
    shelves = []
    for split, shown in (("train", views(config.augment) or ()), ("val", (View(),))):
        if not (images := ImageTable.of(data.splits.get(split, ()))):
            continue
        own = canvases.holding(resized_sizes_hw(images, size))
        for number, numbers in ((-1, np.arange(len(images))),) if split == "train" else _grouped(own):
            canvas_hw = canvases.sides_hw[number]
            height, width = detector.normalised(_some_picture(canvas_hw)).shape[-2:]
            shelves.append(Shelf(split, numbers, canvas_hw, (height, width), shown))
    return shelves


def _grouped(own: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Number of a canvas -> the pictures on it."""
    return [(int(number), np.flatnonzero(own == number)) for number in np.unique(own)]


def _bytes(detector: Detector, cut: Cut, shelves: Sequence[Shelf]) -> int:
    canvases_hw = {shelf.canvas_hw for shelf in shelves}
    of_one = {hw: row_bytes(prefix_of(detector, cut, _some_picture(hw))) for hw in canvases_hw}
    return sum(len(shelf.numbers) * len(shelf.views) * of_one[shelf.canvas_hw] for shelf in shelves)


def _in_views(augment: AugmentConfig) -> str:
    shown = views(augment) or ()
    if shown == (View(),):
        return "as they are"
    number = f"{len(shown)} views" if len(shown) > 1 else "the one view"
    return f"those of train in {number} of augment={augment.name}"


def _cuts(detector: Detector, fronts: dict[int, list[str]], picture: Batch) -> tuple[dict[int, Cut], list[str]]:
    """The last border of each front that can be cut, and why others cannot."""
    cuts: dict[int, Cut] = {}
    why: list[str] = []
    for start, front in fronts.items():
        for stage in reversed(front):
            try:
                cuts[start] = cut_behind(detector, stage, picture)
                break
            except CannotSplit as reason:
                why.append(f"the network cannot be taken apart {reason}")
    if not cuts:
        raise _Declined("; ".join(dict.fromkeys(why)))
    return cuts, [*dict.fromkeys(why)]


def _some_picture(canvas_hw: tuple[int, int]) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch.of([torch.randint(256, (3, *canvas_hw), dtype=torch.uint8, generator=generator)])


def folder_of(config: RunConfig) -> Path:
    return cache_folder(config.output_dir) / "features"


def _refuse_too_much(wanted: FeatureStore, needed: int, folder: Path) -> None:
    if wanted is FeatureStore.auto and needed > LIMIT_BYTES:
        raise _Declined(f"its features would take {_mb(needed)}, more than {_mb(LIMIT_BYTES)}")
    there = existing(folder)
    room = shutil.disk_usage(there).free + sum(size for _, size, _ in lying_in(folder))
    if needed > room:
        raise _Declined(f"its features would take {_mb(needed)}, and {there} has room for {_mb(room)}")


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
