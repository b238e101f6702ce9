"""The store of a run's frozen features: what there is to be stored, and from where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from headstart.build import resolve_precision
from headstart.config.schema import RunConfig
from headstart.data.datamodule import DetectionDataModule
from headstart.data.dataset import Known
from headstart.data.table import ImageTable
from headstart.detectors.interface import Detector
from headstart.features.choose import SPLITS, choose, folder_of
from headstart.features.store import Pictures, Store
from headstart.parts.part import Part
from headstart.transfer.types import TransferPlan


def store_of(
    config: RunConfig, data: DetectionDataModule, detector: Detector, plan: TransferPlan, parts: Sequence[Part]
) -> Store:
    """Nothing is computed yet; `data` is told what it need not read.

    Raises `UserError` where `strategy.feature_store=on` cannot be obeyed.
    """
    needs_pictures = next((part.name for part in parts if part.needs_features), "")
    precision = resolve_precision(config.trainer)
    choice = choose(config, data.seen, data.info.size, data.canvases, detector, plan, precision, needs_pictures)
    images = {split: found for split in SPLITS if (found := data.seen.splits.get(split))}
    pictures = {split: Pictures(ImageTable.of(of), partial(data.whole, split)) for split, of in images.items()}
    data.known = Known({phase.start_epoch: phase.start_epoch in choice.cuts for phase in plan.phases})
    if data.known.always and (workers := config.dataset.num_workers):
        line = f"dataset.num_workers={workers} has no effect: with its features stored, no picture is read in training"
        choice = replace(choice, notes=(*choice.notes, line))
    return Store(choice, folder_of(config), data.info.size, pictures)
