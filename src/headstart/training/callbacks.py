"""What happens around training: the proof that frozen tensors stood still, checkpoints, early stopping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from headstart.config.schema import MonitorConfig, TrainingConfig
from headstart.detectors.interface import Detector
from headstart.training.average import MovingAverage
from headstart.training.checkpoints import Checkpoints, is_better, monitored
from headstart.transfer.proof import moved, tensor_digests
from headstart.transfer.types import TransferPlan


class FrozenProof(Callback):
    """Compares every frozen tensor before and after training, bit by bit.

    `before` travels in the checkpoint, so that a resumed run is held to its very first step.
    """

    def __init__(self) -> None:
        self.before: dict[str, str] = {}
        self.after: dict[str, str] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        if not self.before:
            self.before = tensor_digests(pl_module.detector, pl_module.plan.frozen)

    def close(self, detector: Detector, plan: TransferPlan) -> None:
        """After the fit, also one that found nothing left to do."""
        self.after = tensor_digests(detector, plan.frozen)
        changed = moved(self.before, self.after)
        assert not changed, f"{len(changed)} frozen tensors moved in training, the first {changed[0]}"

    def state_dict(self) -> dict[str, Any]:
        return {"before": self.before}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.before = state_dict["before"]


class EarlyStop(Callback):
    """Ends the training after so many judged epochs in a row without a better one.

    It counts in the last phase of the plan alone: none is left out, and a phase begins with a drop. Stopped is stopped:
    a run that is killed after its end and gone on with does not train again, as it would with Lightning's.
    """

    def __init__(self, patience: int, monitor: MonitorConfig) -> None:
        self.patience = patience
        self.monitor = monitor
        self.waited = 0
        self.best: float | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        trainer.should_stop = self.waited >= self.patience

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        value = monitored(trainer, pl_module, self.monitor)
        if value is None or pl_module.phase is not pl_module.plan.phases[-1]:
            return
        better = is_better(value, self.best, self.monitor)
        self.waited = 0 if better else self.waited + 1
        self.best = value if better else self.best
        trainer.should_stop = trainer.should_stop or self.waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        return {"waited": self.waited, "best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.waited, self.best = state_dict["waited"], state_dict["best"]


def checkpoints(folder: Path, monitor: MonitorConfig) -> Checkpoints:
    """`best.ckpt` by the monitored metric, and `last.ckpt` of each epoch, to resume from."""
    return Checkpoints(folder, monitor)


def optional_callbacks(config: TrainingConfig, monitor: MonitorConfig) -> list[Callback]:
    """Those that the configuration asks for."""
    callbacks: list[Callback] = []
    if config.early_stopping_patience is not None:
        callbacks.append(EarlyStop(config.early_stopping_patience, monitor))
    if config.ema_decay is not None:
        callbacks.append(MovingAverage(config.ema_decay))
    return callbacks
