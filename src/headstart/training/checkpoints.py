"""The weights of the last epoch, to go on from, and of the best, to keep."""

from __future__ import annotations

import math
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Checkpoint

from headstart.config.schema import MonitorConfig
from headstart.errors import UserError
from headstart.replacing import replacing
from headstart.say import say
from headstart.training.history import measured


def monitored(trainer: Any, module: Any, monitor: MonitorConfig) -> float | None:
    """What this epoch is judged by; None where it was not validated, or on images without an object.

    Raises `UserError` for a name that no validation gives.
    """
    found = measured(trainer, module)
    if module.validated and monitor.name not in found:
        raise UserError(f"monitor.name={monitor.name} is not measured; there is {', '.join(sorted(found))}.")
    value = found.get(monitor.name, math.nan)
    return None if math.isnan(value) else value


def is_better(value: float, than: float | None, monitor: MonitorConfig) -> bool:
    return than is None or (value > than if monitor.mode == "max" else value < than)


class Checkpoints(Checkpoint):
    """After every epoch `last.ckpt`, and a copy of it as `best.ckpt` where no earlier epoch was as good.

    Not Lightning's ModelCheckpoint: that writes the last one only in epochs in which it writes another, finds the best
    again only under the same absolute path, takes the first epoch for the best where all values are NaN, and can be
    killed in the midst of a file (it moves it from /tmp).
    """

    def __init__(self, folder: Path, monitor: MonitorConfig) -> None:
        self.last, self.best = folder / "last.ckpt", folder / "best.ckpt"
        self.monitor = monitor
        self.best_epoch: int | None = None
        self.best_value: float | None = None

    @property
    def best_model_path(self) -> str:
        """Of the last epoch where none could be judged; empty where none was written (`trainer.fast_dev_run`)."""
        path = self.last if self.best_epoch is None else self.best
        return str(path) if path.exists() else ""

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """The best epoch is looked for in the folder where the run is now. Raises `UserError` where it is lost."""
        if trainer.fast_dev_run:
            say(f"trainer.fast_dev_run={trainer.fast_dev_run}: a trial of the program; its numbers mean nothing.")
        if self.best_epoch is None:
            return
        if self.best_epoch == epoch_of_checkpoint(self.last):
            self._keep(trainer)  # the run may have been killed just before
        elif self.best_epoch != epoch_of_checkpoint(self.best):
            raise UserError(
                f"{self.best} does not hold the best epoch, {self.best_epoch} ({self.monitor.name} "
                f"{self.best_value:.3f}). Bring that file back, or start anew with rerun=true."
            )

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.fast_dev_run:
            return
        value = monitored(trainer, pl_module, self.monitor)
        is_best = value is not None and is_better(value, self.best_value, self.monitor)
        if is_best:
            self.best_epoch, self.best_value = trainer.current_epoch + 1, value
        with replacing(self.last) if trainer.is_global_zero else nullcontext(self.last) as path:
            trainer.save_checkpoint(path, weights_only=False)
        if is_best:
            self._keep(trainer)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        if self.best_epoch is None and not trainer.fast_dev_run:
            say(f"No epoch has a {self.monitor.name} to be judged by: the weights of the last are kept.")

    def state_dict(self) -> dict[str, Any]:
        return {"best_epoch": self.best_epoch, "best_value": self.best_value}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_epoch, self.best_value = state_dict["best_epoch"], state_dict["best_value"]

    def _keep(self, trainer: Any) -> None:
        if trainer.is_global_zero:
            with replacing(self.best) as path:
                shutil.copyfile(self.last, path)
        trainer.strategy.barrier("best.ckpt")


def epoch_of_checkpoint(path: Path) -> int | None:
    """How many epochs it was trained; None where there is no such file."""
    return torch.load(path, weights_only=True, mmap=True)["epoch"] + 1 if path.exists() else None
