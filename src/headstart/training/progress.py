"""What the user sees while a run trains: a bar in a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, RichProgressBar

from headstart.data.types import Batch

SHOWN = {"train/loss": "loss", "train/loss_step": "loss", "val/map": "mAP"}
"""Metric -> its name in the bar. A bar with every loss would not fit in 80 columns."""


class EpochBar(RichProgressBar):
    """Lightning's bar with the loss and the current mAP alone."""

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        metrics = trainer.callback_metrics
        return {short: f"{float(metrics[name]):.3f}" for name, short in SHOWN.items() if name in metrics}


class EpochLines(Callback):
    """One line an epoch: for log files and CI, where a bar would be thousands of lines."""

    def __init__(self) -> None:
        self.best = float("-inf")
        self.images = 0
        self.training_seconds = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.images = 0
        self.epoch_started = time.perf_counter()
        self.training_seconds = 0.0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self.images += len(batch) * trainer.world_size
        self.training_seconds = time.perf_counter() - self.epoch_started

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        metrics = trainer.callback_metrics
        parts = [f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs or '?'}"]
        if "train/loss" in metrics:
            parts.append(f"loss {float(metrics['train/loss']):.3f}")
        if "val/map" in metrics:
            value = float(metrics["val/map"])
            self.best = max(self.best, value)
            parts.append(f"mAP {value:.3f} (best {self.best:.3f})")
        parts.append(f"{self.images / max(self.training_seconds, 1e-9):.1f} img/s")
        minutes, seconds = divmod(round(time.perf_counter() - self.started), 60)
        print("  ".join([*parts, f"{minutes}:{seconds:02d}"]), flush=True)


def make_progress(enabled: bool | None) -> Callback | None:
    """A bar where stdout is a terminal, lines where it is not, None where the user wants neither."""
    if enabled is False:
        return None
    return EpochBar(leave=False) if sys.stdout.isatty() else EpochLines()
