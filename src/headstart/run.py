"""One experiment from top to bottom."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from rich.console import Console

from headstart import build
from headstart.config.resolve import resolved_dict
from headstart.config.schema import RunConfig
from headstart.data import catalog
from headstart.data.datamodule import DetectionDataModule
from headstart.data.info import describe
from headstart.data.types import DatasetInfo
from headstart.detectors.factory import build_detector
from headstart.detectors.interface import Detector
from headstart.evaluation.coco_map import CocoMeanAveragePrecision, MapResult
from headstart.evaluation.cost import CostCallback
from headstart.inference.export import save_exported
from headstart.records.record import RunRecord
from headstart.study.attempt import attempt, finished_record
from headstart.study.identity import run_folder
from headstart.training.callbacks import FrozenProof, checkpoints, optional_callbacks
from headstart.training.history import History
from headstart.training.loggers import build_loggers
from headstart.training.module import DetectionModule
from headstart.training.progress import make_progress
from headstart.training.wandb_report import LogDetections
from headstart.transfer.freezing import apply_plan
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.show import plan_table, report_table
from headstart.transfer.sources import load_source
from headstart.transfer.strategy import make_plan
from headstart.transfer.types import LoadReport, SourceWeights, TransferPlan

log = logging.getLogger(__name__)
console = Console()


@dataclass
class Experiment:
    """Everything that is known before the first step."""

    data: DetectionDataModule
    info: DatasetInfo
    detector: Detector
    weights: SourceWeights
    report: LoadReport
    plan: TransferPlan
    module: DetectionModule


def run(config: RunConfig) -> RunRecord:
    """Trains as configured, or goes on where the same run was interrupted, or tells that it is finished."""
    resolved = resolved_dict(config)
    folder = run_folder(config, resolved)
    if record := finished_record(folder, rerun=config.rerun):
        say(f"Already finished: {folder} ({_outcome(record)}). rerun=true does it again.")
        return record
    with attempt(folder, config, resolved) as record:
        experiment = prepare(config)
        describe_run(record, experiment)
        train(config, experiment, folder, record)
    say(f"Finished: {folder} ({_outcome(record)})")
    return record


def prepare(config: RunConfig) -> Experiment:
    """Data, detector, source and plan: what the user got wrong fails here, before any training."""
    L.seed_everything(config.seed, workers=True, verbose=False)
    data = catalog.read(config.dataset, config.seed)
    info = describe(data, config.dataset)
    datamodule = DetectionDataModule(data, info, config.dataset, config.augment, config.seed)
    detector = build_detector(config.model, config.backbone, info.class_names)
    weights = load_source(config.source, config.model, config.backbone, detector)
    report = apply_source(detector, weights)
    plan = make_plan(config.strategy, config.optimizer, detector, report)
    apply_plan(detector, plan)
    module = DetectionModule(
        detector,
        plan,
        CocoMeanAveragePrecision(info.class_names, config.evaluation.engine, config.evaluation.max_detections),
        build.optimizer_factory(config.optimizer),
        config.scheduler,
        config.seed,
    )
    return Experiment(datamodule, info, detector, weights, report, plan, module)


def train(config: RunConfig, experiment: Experiment, folder: Path, record: RunRecord) -> None:
    """Measures, trains, measures the best weights, exports them, and fills the record."""
    say(report_table(experiment.report), plan_table(experiment.plan))
    module, data = experiment.module, experiment.data
    history, proof, cost = History(folder), FrozenProof(), CostCallback()
    best = checkpoints(folder / "checkpoints", config.monitor)
    loggers = build_loggers(config.logger, folder, folder.name, folder.name, record.config)
    trainer = build.build_trainer(
        config.trainer,
        folder,
        callbacks=[
            history,
            proof,
            cost,
            LogDetections(config.logger.log_images),
            *optional_callbacks(config.training, config.monitor),
            best,
        ],
        loggers=loggers,
        progress=make_progress(config.trainer.enable_progress_bar),
    )
    last = folder / "checkpoints" / "last.ckpt"
    if last.exists():
        say(f"Going on after the last complete epoch: {last}")
    elif config.training.evaluate_untrained:
        history.add_untrained(measure(config, experiment, folder).scalars())
    trainer.fit(module, datamodule=data, ckpt_path=last if last.exists() else None, weights_only=True)
    load_best(module, best.best_model_path)
    results = {split: measure(config, experiment, folder, split) for split in splits_to_measure(experiment)}
    if trainer.is_global_zero:
        norm_eps = experiment.weights.norm_eps
        save_exported(
            folder,
            experiment.detector,
            config.model,
            config.backbone,
            experiment.info,
            norm_eps,
            lineage(experiment),
        )
        complete(record, experiment, results, history, proof, cost)
        finish_logging(loggers, record)


def measure(config: RunConfig, experiment: Experiment, folder: Path, split: str = "val") -> MapResult:
    """mAP of the detector as it is, over the whole split; moves nothing in it."""
    trainer = build.build_trainer(config.trainer, folder, callbacks=[], loggers=[], progress=None)
    evaluate = trainer.validate if split == "val" else trainer.test
    evaluate(experiment.module, datamodule=experiment.data, verbose=False)
    assert experiment.module.evaluation is not None
    return experiment.module.evaluation


def load_best(module: DetectionModule, path: str) -> None:
    """The weights of the best epoch; those at the end where no checkpoint was written (`fast_dev_run`)."""
    if path:
        module.load_state_dict(torch.load(path, weights_only=True, map_location="cpu")["state_dict"])


def say(*what: Any) -> None:
    """Prints for the user, in one process alone."""
    if rank_zero_only.rank == 0:
        console.print(*what, soft_wrap=True, highlight=False)
