"""What the user sees while a run trains: a bar in a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, RichProgressBar

from headstart.data.batch import Batch
from headstart.training.history import History
from headstart.training.schedule import planned_epochs


class EpochBar(RichProgressBar):
    """Lightning's bar with this process's loss, as it was logged last, and the last mAP alone: all would not fit."""

    def __init__(self, history: History | None = None) -> None:
        super().__init__(leave=False)
        self.history = history

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        running = getattr(pl_module, "running", None)  # not of a module that only evaluates
        shown = {"loss": f"{running.shown:.3f}"} if running and running.shown is not None else {}
        validated = [row for row in self.history.rows if "val/map" in row] if self.history else []
        if validated:
            shown["mAP"] = f"{_shown(validated[-1]['val/map'])} (epoch {validated[-1]['epoch']})"
        return shown


class EpochLines(Callback):
    """One line an epoch: for log files and CI, where a bar would be thousands of lines.

    The numbers are those of the history's last row, so that the best is that of the whole run, resumed or not.
    """

    def __init__(self, history: History | None = None) -> None:
        self.history = history
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
        parts = [f"epoch {trainer.current_epoch + 1}/{planned_epochs(trainer)}"]
        parts += _numbers(self.history.rows) if self.history else []
        parts.append(f"{self.images / max(self.training_seconds, 1e-9):.1f} img/s")
        minutes, seconds = divmod(round(time.perf_counter() - self.started), 60)
        print("  ".join([*parts, f"{minutes}:{seconds:02d}"]), flush=True)


def _numbers(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Of the last row; the best mAP is of all trained epochs."""
    row = rows[-1]
    found = [f"loss {row['train/loss']:.3f}"] if "train/loss" in row else []
    if "val/map" in row:
        known = [
            each["val/map"] for each in rows if each["epoch"] > 0 and not math.isnan(each.get("val/map", math.nan))
        ]
        found.append(f"mAP {_shown(row['val/map'])}" + (f" (best {max(known):.3f})" if known else ""))
    return found


def _shown(value: float) -> str:
    return "- (no objects)" if math.isnan(value) else f"{value:.3f}"


def make_progress(enabled: bool | None, history: History | None = None) -> Callback | None:
    """A bar where stdout is a terminal, lines where it is not, None where the user wants neither."""
    if enabled is False:
        return None
    return EpochBar(history) if sys.stdout.isatty() else EpochLines(history)
