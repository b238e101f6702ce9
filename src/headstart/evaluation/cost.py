"""What a run costs: time, memory, speed."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import lightning as L
import psutil
import torch
from lightning.pytorch.callbacks import Callback

from headstart.data.batch import Batch
from headstart.replacing import replacing

MIB = 1024**2
NOTHING = {"wall_seconds": 0.0, "cpu_seconds": 0.0, "training_seconds": 0.0, "images": 0.0, "peak_memory_mib": 0.0}
WRITTEN_EVERY_SECONDS = 5.0


class CostCallback(Callback):
    """Measures the fit, validation within it included. What earlier attempts at the run cost adds up.

    The sum stands in the file `journal`, epochs included that were trained, lost with a killed process and trained
    again. What stays uncounted of a killed attempt: what it did before its fit and after, and its last
    `WRITTEN_EVERY_SECONDS` (a step or a validated batch, where one takes longer).

    `cpu_seconds` counts the process with rank 0 and its children: the loader's workers and the processes that Lightning
    starts to train with it, not those on other machines.
    `peak_memory_mib` is that of the process that needs most: on a GPU the most that its tensors held at a time, else
    the process's resident memory, as it is at the ends of epochs.
    """

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.totals = dict(NOTHING)
        self.last_wall = self.last_cpu = self.written = self.batch_ended = 0.0

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.totals = NOTHING | _read(self.journal, self.totals)
        self.last_wall, self.last_cpu = time.perf_counter(), cpu_seconds()
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(trainer.strategy.root_device)
        self._write(trainer)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.batch_ended = time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        self.totals["training_seconds"] += now - self.batch_ended
        self.totals["images"] += len(batch) * trainer.world_size
        self.batch_ended = now
        self._write_now_and_then(trainer)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._write_now_and_then(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.batch_ended = time.perf_counter()  # validation within an epoch is no training

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        used = torch.tensor(_memory_mib(trainer.strategy.root_device), device=trainer.strategy.root_device)
        most = float(trainer.strategy.reduce(used, reduce_op="max"))
        self.totals["peak_memory_mib"] = max(self.totals["peak_memory_mib"], most)
        self._write(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._write(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if self.written:
            with contextlib.suppress(OSError):  # on a full disk what ended the run is to be told, not this
                self._write(trainer)

    def as_dict(self) -> dict[str, float]:
        """After the fit: wall_seconds, cpu_seconds, train_images_per_second, peak_memory_mib."""
        totals = self.totals
        return {
            "wall_seconds": totals["wall_seconds"],
            "cpu_seconds": totals["cpu_seconds"],
            "train_images_per_second": totals["images"] / max(totals["training_seconds"], 1e-9),
            "peak_memory_mib": totals["peak_memory_mib"],
        }

    def state_dict(self) -> dict[str, Any]:
        return self.totals

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.totals = state_dict

    def _write_now_and_then(self, trainer: L.Trainer) -> None:
        if time.perf_counter() - self.written >= WRITTEN_EVERY_SECONDS:
            self._write(trainer)

    def _write(self, trainer: L.Trainer) -> None:
        """Brings the totals up to now."""
        wall, cpu = time.perf_counter(), cpu_seconds()
        self.totals["wall_seconds"] += wall - self.last_wall
        self.totals["cpu_seconds"] += max(0.0, cpu - self.last_cpu)  # what a descendant's child took is lost with it
        self.last_wall, self.last_cpu, self.written = wall, cpu, wall
        if trainer.is_global_zero:
            self.journal.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.journal) as path:
                path.write_text(json.dumps(self.totals) + "\n")


def _read(journal: Path, otherwise: dict[str, float]) -> dict[str, float]:
    """The journal, which is ahead of every checkpoint; where it was lost, what the checkpoint says."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads(journal.read_text())
    return otherwise


def cpu_seconds() -> float:
    """User and system time of this process and its descendants, of those that live and of those that ended."""
    me, total = psutil.Process(), 0.0
    for process in (me, *me.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _memory_mib(device: torch.device) -> float:
    """The peak of the device trained on where it has memory of its own, else the process's resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    return psutil.Process().memory_info().rss / MIB
