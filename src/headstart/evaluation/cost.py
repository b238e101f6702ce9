"""What a run costs: time, memory, speed."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import lightning as L
import psutil
import torch
from lightning.pytorch.callbacks import Callback

from headstart.data.types import Batch

MIB = 1024**2


class CostCallback(Callback):
    """Measures the fit, validation within it included. What earlier attempts at the run cost adds up.

    `cpu_seconds` counts this process and its children, the loader's workers among them, of the process with rank 0.
    """

    def __init__(self) -> None:
        self.earlier = {"wall_seconds": 0.0, "cpu_seconds": 0.0, "training_seconds": 0.0, "images": 0.0}
        self.peak_memory_mib = 0.0
        self.images = 0
        self.training_seconds = 0.0
        self.started_wall = self.started_cpu = self.batch_ended = 0.0

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.started_wall, self.started_cpu = time.perf_counter(), cpu_seconds()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.batch_ended = time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        self.training_seconds += now - self.batch_ended
        self.batch_ended = now
        self.images += len(batch) * trainer.world_size

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.batch_ended = time.perf_counter()  # validation within an epoch is no training

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.peak_memory_mib = max(self.peak_memory_mib, _memory_mib())

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.earlier = self._totals()
        self.images, self.training_seconds = 0, 0.0
        self.started_wall, self.started_cpu = time.perf_counter(), cpu_seconds()

    def as_dict(self) -> dict[str, float]:
        """After the fit: wall_seconds, cpu_seconds, train_images_per_second, peak_memory_mib."""
        totals = self.earlier
        return {
            "wall_seconds": totals["wall_seconds"],
            "cpu_seconds": totals["cpu_seconds"],
            "train_images_per_second": totals["images"] / max(totals["training_seconds"], 1e-9),
            "peak_memory_mib": self.peak_memory_mib,
        }

    def state_dict(self) -> dict[str, Any]:
        return {"earlier": self._totals(), "peak_memory_mib": self.peak_memory_mib}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.earlier = state_dict["earlier"]
        self.peak_memory_mib = state_dict["peak_memory_mib"]

    def _totals(self) -> dict[str, float]:
        now = {
            "wall_seconds": time.perf_counter() - self.started_wall,
            "cpu_seconds": cpu_seconds() - self.started_cpu,
            "training_seconds": self.training_seconds,
            "images": float(self.images),
        }
        return {name: value + self.earlier[name] for name, value in now.items()}


def cpu_seconds() -> float:
    """User and system time of this process and its descendants, of those that live and of those that ended."""
    me, total = psutil.Process(), 0.0
    for process in (me, *me.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _memory_mib() -> float:
    """The GPU's peak where there is one, else the process's resident memory."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / MIB
    return psutil.Process().memory_info().rss / MIB
