"""What happens around training: the proof that frozen tensors stood still, checkpoints, early stopping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint

from headstart.config.schema import MonitorConfig, TrainingConfig
from headstart.detectors.interface import Detector
from headstart.training.average import MovingAverage
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


def checkpoints(folder: Path, monitor: MonitorConfig) -> ModelCheckpoint:
    """`best.ckpt` by the monitored metric, and `last.ckpt` of each epoch, to resume from."""
    return ModelCheckpoint(
        dirpath=folder,
        filename="best",
        monitor=monitor.name,
        mode=monitor.mode,
        save_last=True,
        save_top_k=1,
        # After validation, at the end of the epoch: a resume then starts with the next epoch.
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )


def optional_callbacks(config: TrainingConfig, monitor: MonitorConfig) -> list[Callback]:
    """Those that the configuration asks for."""
    callbacks: list[Callback] = []
    if config.early_stopping_patience is not None:
        callbacks.append(
            EarlyStopping(
                monitor.name,
                mode=monitor.mode,
                patience=config.early_stopping_patience,
                check_finite=False,  # a validation set without ground truth gives NaN: not a divergence
            )
        )
    if config.ema_decay is not None:
        callbacks.append(MovingAverage(config.ema_decay))
    return callbacks
