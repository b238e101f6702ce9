"""An experiment before its first step, and how it is measured."""

from __future__ import annotations

from dataclasses import dataclass, field
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
from headstart.transfer.proof import digest
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
    validated: dict[str, MapResult] = field(default_factory=dict)
    """By the digest of the weights that it is of."""

    @property
    def info(self) -> DatasetInfo:
        return self.data.info


def measure(experiment: Experiment, folder: Path, split: str) -> MapResult:
    """mAP of the detector as it is, over the whole split; moves nothing in it. The same weights are validated once."""
    if split == "test":
        return _evaluate(experiment, folder, split)
    weights = _weights(experiment)
    if weights not in experiment.validated:
        experiment.validated[weights] = _evaluate(experiment, folder, split)
    return experiment.validated[weights]


def remember(experiment: Experiment, result: MapResult) -> None:
    """What the validation of the detector as it is gave, in the fit."""
    experiment.validated[_weights(experiment)] = result


def _weights(experiment: Experiment) -> str:
    return digest(experiment.detector, experiment.detector.state_dict())


def _evaluate(experiment: Experiment, folder: Path, split: str) -> MapResult:
    trainer = build.build_trainer(experiment.config.trainer, folder, callbacks=[], loggers=[], progress=None)
    experiment.store.check(experiment.detector)
    evaluate = trainer.validate if split == "val" else trainer.test
    evaluate(experiment.module, datamodule=experiment.data, verbose=False)
    assert experiment.module.evaluation is not None
    return experiment.module.evaluation
