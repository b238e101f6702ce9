"""The fit of an experiment: from its first step, or its last checkpoint, to the weights that are measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import Logger

from headstart import build
from headstart.evaluation.cost import CostCallback
from headstart.evaluation.spending import Spending
from headstart.parts.part import Work
from headstart.runs.attempt import last_checkpoint
from headstart.runs.experiment import Experiment, measure, remember
from headstart.say import say
from headstart.training.callbacks import FrozenProof, checkpoints, optional_callbacks
from headstart.training.frozen import read_checkpoint
from headstart.training.history import History
from headstart.training.loggers import build_loggers
from headstart.training.module import DetectionModule
from headstart.training.profile import Sections, SplitNetwork
from headstart.training.progress import make_progress
from headstart.training.wandb_report import LogDetections

STATISTICS_IMAGES = 512
"""That estimate BatchNorm statistics: the error of a mean over them is far below what differs between data sets."""


@dataclass
class Fitted:
    """What a fit leaves behind, for the record; the weights are in the experiment's detector."""

    trainer: L.Trainer
    history: History
    proof: FrozenProof
    cost: CostCallback
    spending: Spending
    loggers: list[Logger]
    sections: Sections | None


def fit(experiment: Experiment, folder: Path, settings: dict[str, Any]) -> Fitted:
    """Goes on after the last complete epoch where the run was interrupted. `settings` is what loggers are told."""
    config = experiment.config
    kept = folder / "checkpoints"
    history, proof, cost, spending = History(folder), FrozenProof(), CostCallback(kept / "cost.json"), Spending()
    best = checkpoints(kept, config.monitor)
    optional = optional_callbacks(config.training, config.monitor)
    sections = Sections() if config.training.profile else None
    optional += [SplitNetwork(sections)] if sections else []
    callbacks = [history, proof, cost, spending, LogDetections(config.logger.log_images), *optional, best]
    loggers = build_loggers(config.logger, folder, folder.name, settings)
    trainer = build.build_trainer(
        config.trainer, folder, callbacks, loggers, make_progress(config.trainer.enable_progress_bar, history), sections
    )
    work = _work(experiment, folder, trainer, spending)
    resumed = last if (last := last_checkpoint(folder)).exists() else None
    if resumed:
        say(f"Going on after the last complete epoch: {last}")
    else:
        _begin(experiment, work, history)
    trainer.fit(experiment.module, datamodule=experiment.data, ckpt_path=resumed, weights_only=True)
    proof.close(experiment.detector, experiment.plan)
    load_best(experiment.module, best.best_model_path)
    if best.best_result is not None:
        remember(experiment, best.best_result)
    _conclude(experiment, work)
    return Fitted(trainer, history, proof, cost, spending, loggers, sections)


def _work(experiment: Experiment, folder: Path, trainer: L.Trainer, spending: Spending) -> Work:
    return Work(
        detector=experiment.detector,
        report=experiment.report,
        plan=experiment.plan,
        parts=experiment.parts,
        monitor=experiment.config.monitor,
        device=trainer.strategy.root_device,
        training_batches=lambda: experiment.data.plain_batches("train", STATISTICS_IMAGES),
        measure=lambda: measure(experiment, folder, "val"),
        spending=spending,
    )


def _begin(experiment: Experiment, work: Work, history: History) -> None:
    for part in experiment.parts:
        with work.spending.on(part.name):
            part.before_fit(work)
    if experiment.config.training.evaluate_untrained:
        history.add_untrained(work.measure().scalars())


def _conclude(experiment: Experiment, work: Work) -> None:
    for part in reversed(experiment.parts):
        with work.spending.on(part.name):
            part.after_fit(work)


def load_best(module: DetectionModule, path: str) -> None:
    """The weights of the best epoch; those at the end where no checkpoint was written (`fast_dev_run`)."""
    if path:
        module.load_state_dict(read_checkpoint(Path(path))["state_dict"])
