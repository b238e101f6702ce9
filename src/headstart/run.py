"""One experiment from top to bottom."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from headstart import build
from headstart.config.resolve import resolved_dict
from headstart.config.schema import NormPolicy, RunConfig
from headstart.data import catalog
from headstart.data.datamodule import DetectionDataModule
from headstart.data.info import describe
from headstart.data.types import DatasetInfo
from headstart.detectors.cosine import use_cosine_head
from headstart.detectors.factory import build_detector
from headstart.detectors.interface import Detector
from headstart.evaluation.coco_map import CocoMeanAveragePrecision, MapResult
from headstart.evaluation.cost import CostCallback
from headstart.inference.export import save_exported
from headstart.records.record import RunRecord
from headstart.runs.account import describe_end, describe_start, final_numbers, outcome
from headstart.runs.attempt import attempt, finished_record
from headstart.runs.identity import run_folder
from headstart.runs.lock import locked
from headstart.runs.pretrained import with_source_folder
from headstart.runs.retention import Retention, read_retention, retention_line
from headstart.say import is_main_process, say
from headstart.training.callbacks import FrozenProof, checkpoints, optional_callbacks
from headstart.training.history import History
from headstart.training.loggers import build_loggers, finish_loggers
from headstart.training.mixtures import keep_best_mixture
from headstart.training.module import DetectionModule
from headstart.training.progress import make_progress
from headstart.training.quiet import quieten
from headstart.training.wandb_report import LogDetections
from headstart.transfer.adapter_plan import apply_adapters
from headstart.transfer.adapters import merge_adapters
from headstart.transfer.distillation import Teacher
from headstart.transfer.freezing import apply_phase
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.interpolation import source_copy
from headstart.transfer.norm import norm_layers, statistics
from headstart.transfer.pull import Pull
from headstart.transfer.recalibration import recalibrate
from headstart.transfer.show import mixture_table, plan_table, report_table
from headstart.transfer.sources import load_source
from headstart.transfer.strategy import make_plan
from headstart.transfer.types import LoadReport, SourceWeights, TransferPlan

RECALIBRATION_IMAGES = 512
"""That estimate BatchNorm statistics: the error of a mean over them is far below what differs between data sets."""


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
    source: dict[str, Tensor]
    """What the source filled, where the strategy mixes it with the result."""
    retention: Retention | None
    """The source's own task, where it is measured what survives of it."""


def run(config: RunConfig) -> RunRecord:
    """Trains as configured, or goes on where the same run was interrupted, or tells that it is finished."""
    quieten()
    resolved = resolved_dict(config)
    folder = run_folder(config, resolved)
    with locked(folder) if is_main_process() else nullcontext():
        if record := finished_record(folder, rerun=config.rerun):
            say(f"Already finished: {folder} ({outcome(record)}). rerun=true does it again.")
            return record
        return _attempt(config, resolved, folder)


def _attempt(config: RunConfig, resolved: dict[str, Any], folder: Path) -> RunRecord:
    with attempt(folder, config, resolved) as record:
        experiment = prepare(config)
        describe_start(record, experiment.info, experiment.report, experiment.plan, experiment.detector)
        train(config, experiment, folder, record)
    say(f"Finished: {folder} ({outcome(record)})")
    return record


def prepare(config: RunConfig) -> Experiment:
    """Data, detector, source and plan: what the user got wrong fails here, before any training."""
    L.seed_everything(config.seed, workers=True, verbose=False)
    config = with_source_folder(config)
    retention = read_retention(config)
    data = catalog.read(config.dataset, config.seed)
    info = describe(data, config.dataset)
    datamodule = DetectionDataModule(data, info, config.dataset, config.augment, config.seed)
    cosine_scale = config.strategy.cosine_scale
    detector = build_detector(config.model, config.backbone, info.class_names)
    if cosine_scale is not None:
        use_cosine_head(detector, cosine_scale)
    weights = load_source(config.source, config.model, config.backbone, detector, cosine_scale=cosine_scale)
    return equip(config, datamodule, detector, weights, retention)


def equip(
    config: RunConfig,
    data: DetectionDataModule,
    detector: Detector,
    weights: SourceWeights,
    retention: Retention | None = None,
) -> Experiment:
    """The detector with the source's weights and all that the strategy adds to it, ready to train."""
    strategy = config.strategy
    report = apply_source(detector, weights, config.source.aliases)
    plan = make_plan(strategy, config.optimizer, detector, report, config.trainer.max_epochs)
    source = source_copy(detector, report) if strategy.interpolate else {}
    teacher = Teacher(detector, report, strategy.distill) if strategy.distill is not None else None
    pull = Pull(detector, report, plan.pulled, strategy.pull.strength) if strategy.pull is not None else None
    plan = apply_adapters(strategy, config.optimizer, detector, plan)
    apply_phase(detector, plan.phases[0])
    module = DetectionModule(
        detector,
        plan,
        CocoMeanAveragePrecision(data.info.class_names, config.evaluation.engine, config.evaluation.max_detections),
        build.optimizer_factory(config.optimizer),
        config.scheduler,
        config.seed,
        teacher,
        pull,
    )
    return Experiment(data, data.info, detector, weights, report, plan, module, source, retention)


def train(config: RunConfig, experiment: Experiment, folder: Path, record: RunRecord) -> None:
    """Measures, trains, measures the best weights, exports them, and fills the record."""
    say(report_table(experiment.report), plan_table(experiment.plan))
    module, data, detector = experiment.module, experiment.data, experiment.detector
    history, proof, cost = History(folder), FrozenProof(), CostCallback(folder / "checkpoints" / "cost.json")
    best = checkpoints(folder / "checkpoints", config.monitor)
    optional = optional_callbacks(config.training, config.monitor)
    pictures = LogDetections(config.logger.log_images)
    loggers = build_loggers(config.logger, folder, folder.name, record.config)
    progress = make_progress(config.trainer.enable_progress_bar, history)
    callbacks = [history, proof, cost, pictures, *optional, best]
    trainer = build.build_trainer(config.trainer, folder, callbacks, loggers, progress)
    last = folder / "checkpoints" / "last.ckpt"
    resumed = last if last.exists() else None
    if resumed:
        say(f"Going on after the last complete epoch: {last}")
    else:
        if config.strategy.norm is NormPolicy.recalibrate:
            recalibrate_norms(experiment, trainer.strategy.root_device)
        if config.training.evaluate_untrained:
            history.add_untrained(measure(config, experiment, folder, "val").scalars())
    trainer.fit(module, datamodule=data, ckpt_path=resumed, weights_only=True)
    proof.close(detector, experiment.plan)
    load_best(module, best.best_model_path)
    merge_adapters(detector)
    mixtures = mix_with_source(config, experiment, folder)
    splits = [split for split in ("val", "test") if data.data.splits.get(split)]
    results = {split: measure(config, experiment, folder, split) for split in splits}
    describe_end(record, results, history.rows, cost.as_dict(), proof, detector)
    record.environment["precision"] = str(trainer.precision)
    if mixtures:
        record.metrics["interpolation"] = mixtures
    if experiment.retention is not None:
        record.metrics["retention"] = experiment.retention.result(detector, experiment.report)
        say(retention_line(record.metrics["retention"]))
    if trainer.is_global_zero:
        norm_eps = experiment.weights.norm_eps
        cosine = config.strategy.cosine_scale
        save_exported(
            folder, detector, config.model, config.backbone, experiment.info, norm_eps, record.lineage, cosine
        )
    for line in finish_loggers(loggers, final_numbers(record)):
        say(line)


def measure(config: RunConfig, experiment: Experiment, folder: Path, split: str) -> MapResult:
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


def recalibrate_norms(experiment: Experiment, device: torch.device) -> None:
    """Statistics that training will not move are made the target's (AdaBN)."""
    detector, frozen = experiment.detector.to(device), experiment.plan.frozen
    layers = [
        name
        for name, layer in norm_layers(detector).items()
        if (moments := statistics(name, layer)) and moments <= frozen
    ]
    images = recalibrate(detector, experiment.data.plain_batches("train", RECALIBRATION_IMAGES), layers)
    say(f"Statistics of {len(layers)} BatchNorm layers estimated on {images} training images")


def mix_with_source(config: RunConfig, experiment: Experiment, folder: Path) -> list[dict[str, float]]:
    """The curve of the mixtures, of which the best stays in the detector; empty where the strategy wants none."""
    if not config.strategy.interpolate:
        return []

    detector, report, retention = experiment.detector, experiment.report, experiment.retention
    rows = keep_best_mixture(
        detector,
        experiment.source,
        report,
        config.strategy.interpolate,
        lambda: measure(config, experiment, folder, "val"),
        (lambda: retention.after(detector, report).map) if retention is not None else None,
        config.monitor,
    )
    say(mixture_table(rows))
    return rows
