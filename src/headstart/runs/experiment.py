"""An experiment before its first step, and how it is measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headstart import build
from headstart.config.schema import RunConfig
from headstart.data.datamodule import DetectionDataModule
from headstart.data.types import DatasetInfo
from headstart.detectors.interface import Detector
from headstart.evaluation.coco_map import MapResult
from headstart.features.store import Store
from headstart.parts.part import Part
from headstart.training.module import DetectionModule
from headstart.transfer.types import LoadReport, SourceWeights, TransferPlan


@dataclass
class Experiment:
    """Everything that is known before the first step."""

    config: RunConfig
    data: DetectionDataModule
    detector: Detector
    weights: SourceWeights
    report: LoadReport
    plan: TransferPlan
    parts: list[Part]
    module: DetectionModule
    store: Store

    @property
    def info(self) -> DatasetInfo:
        return self.data.info


def measure(experiment: Experiment, folder: Path, split: str) -> MapResult:
    """mAP of the detector as it is, over the whole split; moves nothing in it."""
    trainer = build.build_trainer(experiment.config.trainer, folder, callbacks=[], loggers=[], progress=None)
    experiment.store.check(experiment.detector)
    evaluate = trainer.validate if split == "val" else trainer.test
    evaluate(experiment.module, datamodule=experiment.data, verbose=False)
    assert experiment.module.evaluation is not None
    return experiment.module.evaluation
