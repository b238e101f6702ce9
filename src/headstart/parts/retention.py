"""How much of the source's task survives: the detector measured on the source's own validation images.

Backward transfer in continual learning (Lopez-Paz & Ranzato, NeurIPS 2017), as a share: mAP after over mAP before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch

from headstart import build
from headstart.config.checks_transfer import check_retention, source_folder
from headstart.config.schema import CheckpointConfig, DatasetConfig, RunConfig
from headstart.data import catalog
from headstart.data.datamodule import DetectionDataModule
from headstart.data.info import describe, is_still
from headstart.data.keeping import Place, cache_folder
from headstart.data.recorded import recorded_dataset
from headstart.data.types import DatasetInfo, DetectionData
from headstart.detectors.interface import Detector
from headstart.errors import UserError
from headstart.evaluation.coco_map import CocoMeanAveragePrecision, MapResult
from headstart.evaluation.module import EvaluationModule
from headstart.inference.export import load_exported
from headstart.parts.part import Part, Work
from headstart.records.record import RunRecord
from headstart.say import say
from headstart.transfer.class_rows import BACKGROUND, ClassMatch, fits, keep_rows
from headstart.transfer.types import LoadReport


@dataclass
class Retention:
    """The source's task: its run's folder, and its data as that run saw it. Measures what is left of it."""

    config: RunConfig
    folder: Path
    dataset: DatasetConfig
    data: DetectionData
    info: DatasetInfo

    @cached_property
    def before(self) -> MapResult:
        """Of the source's detector; measured once."""
        return self._measure(load_exported(self.folder)[0])

    def after(self, detector: Detector, report: LoadReport) -> MapResult:
        """Of `detector`, as `retained_detector` makes it one for the source's classes."""
        return self._measure(retained_detector(load_exported(self.folder)[0], detector, report.kept_classes))

    def result(self, detector: Detector, report: LoadReport) -> dict[str, Any]:
        """For the record: dataset, classes, before, after (map, map_50, map_shared), retained.

        `classes` are those that both know, by the source's names; `map_shared` is the mean AP of these, as far as
        they have ground truth. `retained` is `after.map / before.map`; NaN where there is no ground truth, or the
        source finds nothing.
        """
        before, after = self.before, self.after(detector, report)
        shared = [name for name in self.info.class_names if name in report.kept_classes.values()]
        return {
            "dataset": self.info.name,
            "classes": shared,
            "before": _numbers(before, shared),
            "after": _numbers(after, shared),
            "retained": after.map / before.map if before.map > 0 else math.nan,
        }

    def _measure(self, detector: Detector) -> MapResult:
        """At the source's image size, with this run's trainer: before and after are measured in the same way."""
        config, evaluation = self.config, self.config.evaluation
        metric = CocoMeanAveragePrecision(self.info.class_names, evaluation.engine, evaluation.max_detections)
        module = EvaluationModule(detector, metric)
        place = Place(build.training_device(config.trainer), cache_folder(config.output_dir))
        datamodule = DetectionDataModule(self.data, self.info, self.dataset, config.augment, config.seed, place)
        trainer = build.build_trainer(config.trainer, Path(config.output_dir), callbacks=[], loggers=[], progress=None)
        trainer.validate(module, datamodule=datamodule, verbose=False)
        assert module.evaluation is not None
        return module.evaluation


def read_retention(config: RunConfig) -> Retention | None:
    """To be read before training, so that nothing is refused after it; None without `evaluation.retention`.

    Raises `UserError` where the source is no finished run, or its data has changed since.
    """
    check_retention(config)
    if not config.evaluation.retention:
        return None
    folder = source_folder(cast(CheckpointConfig, config.source).path)
    record = RunRecord.read(folder / "record.json")
    dataset = recorded_dataset(record, folder, elsewhere=config.data_dir)
    data = catalog.read(dataset, record.config["seed"])
    info = describe(data, dataset)
    if not is_still(info, record.dataset, "val"):
        raise UserError(
            f"evaluation.retention=true: {info.name} has changed since source.path={folder} was trained on it. "
            "Restore the data (record.json, dataset), or use evaluation.retention=false"
        )
    return Retention(config, folder, dataset, data, info)


def retained_detector(source: Detector, tuned: Detector, kept_classes: Mapping[str, str]) -> Detector:
    """Turns `source` into what became of it, in place: the network of `tuned`, with a head for the source's classes.

    Rows of the classes that both know (`kept_classes`: target -> source) and of the background are the tuned ones;
    those of the source's other classes are its own, as if its head had been kept aside. Where several classes of the
    target come from one of the source, the first speaks for it.
    """
    axes = {axis.tensor: axis for axis in source.class_axes()}
    state, values = source.state_dict(), tuned.state_dict()
    with torch.no_grad():
        for name, tensor in state.items():
            if name not in axes:
                tensor.copy_(values[name])
                continue
            match = _rows_of(source, tuned, kept_classes, axes[name].background)
            if fits(tensor, values[name], axes[name], len(match.row_names)):  # not with another number of anchors
                tensor.copy_(keep_rows(tensor, values[name], axes[name], match)[0])
    return source


def _rows_of(source: Detector, tuned: Detector, kept_classes: Mapping[str, str], background: int) -> ClassMatch:
    """For each class of the source that both know, the tuned detector's row."""
    target_of: dict[str, str] = {}
    for ours, theirs in kept_classes.items():
        target_of.setdefault(theirs, ours)
    return ClassMatch(
        row_names=(BACKGROUND,) * background + tuple(tuned.class_names),
        row_of_class={
            index: background + tuned.class_names.index(target_of[name])
            for index, name in enumerate(source.class_names)
            if name in target_of
        },
        background_row=0 if background else None,
    )


def _numbers(result: MapResult, shared: Sequence[str]) -> dict[str, float]:
    found = [result.per_class[name] for name in shared if not math.isnan(result.per_class[name])]
    mean = sum(found) / len(found) if found else math.nan
    return {"map": result.map, "map_50": result.map_50, "map_shared": mean}


def retention_line(result: Mapping[str, Any]) -> str:
    """In a line, for the user: what `Retention.result` found."""
    share = "nothing to compare" if math.isnan(result["retained"]) else f"{result['retained']:.0%} retained"
    before, after = result["before"]["map"], result["after"]["map"]
    return f"On the source's own images ({result['dataset']}): mAP {before:.3f} before, {after:.3f} after; {share}"


class RetentionPart(Part):
    name = "retention"
    measures_only = True

    def __init__(self, task: Retention) -> None:
        self.task = task
        self.found: dict[str, Any] = {}

    def map_of(self, work: Work) -> float:
        """mAP of the detector as it is on the source's images."""
        with work.spending.on(self.name):
            return self.task.after(work.detector, work.report).map

    def after_fit(self, work: Work) -> None:
        self.found = self.task.result(work.detector, work.report)
        say(retention_line(self.found))

    def record(self) -> dict[str, Any]:
        return {self.name: self.found}


def retention(config: RunConfig) -> Part | None:
    task = read_retention(config)
    return None if task is None else RetentionPart(task)
