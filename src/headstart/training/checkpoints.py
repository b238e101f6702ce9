"""The weights of the last epoch, to go on from, and of the best, to keep."""

from __future__ import annotations

import itertools
import math
import os
import shutil
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from headstart.config.plain import plain
from headstart.config.schema import MonitorConfig
from headstart.errors import UserError
from headstart.evaluation.coco_map import MapResult
from headstart.records.detections import SplitDetections
from headstart.replacing import replacing
from headstart.say import say
from headstart.training.frozen import DirectIO
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


NEEDED = ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks")
"""Without which a run cannot go on."""


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
        self.best_result: MapResult | None = None
        """What the validation of the best epoch gave; None where none was of its last step."""
        self.validated: tuple[int, MapResult] | None = None
        """The last validation, and the step after which it was."""

    @property
    def best_model_path(self) -> str:
        """Of the last epoch where none could be judged; empty where none was written (`trainer.fast_dev_run`)."""
        path = self.last if self.best_epoch is None else self.best
        return str(path) if path.exists() else ""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # not one of the user's own
            trainer.strategy.checkpoint_io = DirectIO({f"detector.{name}" for name in pl_module.plan.frozen})

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

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self.validated = trainer.global_step, pl_module.evaluation

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.fast_dev_run:
            return
        value = monitored(trainer, pl_module, self.monitor)
        is_best = value is not None and is_better(value, self.best_value, self.monitor)
        if is_best:
            self.best_epoch, self.best_value = trainer.current_epoch + 1, value
            step, result = self.validated or (None, None)
            self.best_result = result if step == trainer.global_step else None
        with replacing(self.last) if trainer.is_global_zero else nullcontext(self.last) as path:
            trainer.save_checkpoint(path, weights_only=False)
        if is_best:
            self._keep(trainer)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        if self.best_epoch is None and not trainer.fast_dev_run and trainer.max_epochs != 0:
            say(f"No epoch has a {self.monitor.name} to be judged by: the weights of the last are kept.")

    def state_dict(self) -> dict[str, Any]:
        best = {"best_epoch": self.best_epoch, "best_value": self.best_value}
        return best | {"best_result": packed(self.best_result)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_epoch, self.best_value = state_dict["best_epoch"], state_dict["best_value"]
        self.best_result = unpacked(state_dict.get("best_result"))

    def _keep(self, trainer: Any) -> None:
        if trainer.is_global_zero:
            with replacing(self.best) as path:
                shutil.copyfile(self.last, path)
        trainer.strategy.barrier("best.ckpt")


def packed(result: MapResult | None) -> dict[str, Any] | None:
    """With its detections as tensors, which a checkpoint may hold."""
    if result is None or result.detections is None:
        return None
    columns = vars(result.detections).items()
    return plain(result.numbers()) | {"detections": {name: torch.from_numpy(column) for name, column in columns}}


def unpacked(result: dict[str, Any] | None) -> MapResult | None:
    """None where an older checkpoint has no result, or no detections of it: its weights are measured again."""
    if result is None or "detections" not in result:
        return None
    numbers = {name: value for name, value in result.items() if name != "detections"}
    columns = {name: column.numpy() for name, column in result["detections"].items()}
    return MapResult(**numbers, detections=SplitDetections(**columns))


def epoch_of_checkpoint(path: Path) -> int | None:
    """How many epochs it was trained; None where there is no such file, or one that cannot be read."""
    try:
        return torch.load(path, weights_only=True, mmap=True)["epoch"] + 1 if path.exists() else None
    except Exception:  # torch has no one type for what it cannot read
        return None


def why_unreadable(path: Path) -> str | None:
    """What is wrong with a checkpoint, every byte of it; None where a run can go on from it."""
    try:
        with zipfile.ZipFile(path) as archive:
            if (member := archive.testzip()) is not None:
                return f"the checksum of {member} is wrong"
        found = torch.load(path, weights_only=True, mmap=True)
    except Exception as error:  # torch has no one type for what it cannot read
        return (str(error).splitlines() or [type(error).__name__])[0]
    missing = [key for key in NEEDED if not isinstance(found, dict) or key not in found]
    return f"it has no {', '.join(missing)}" if missing else None


def mend(folder: Path) -> None:
    """Puts `best.ckpt` in the place of a `last.ckpt` that cannot be read, or neither where that cannot be read either:
    the run goes on after its best epoch, or begins anew. What cannot be read stays beside it, under another name."""
    last, best = folder / "last.ckpt", folder / "best.ckpt"
    why = why_unreadable(last) if last.exists() else None
    if why is None:
        return
    say(f"{last} cannot be read ({why}). It is kept as {_beside(last, _link)}.")
    why = why_unreadable(best) if best.exists() else "it is not there"
    if why is None:
        with replacing(last) as path:
            shutil.copyfile(best, path)
        say(f"The run goes on from {best}: what came after epoch {epoch_of_checkpoint(best)} is trained again.")
        return
    kept = f", and is kept as {_beside(best, os.rename)}" if best.exists() else ""
    last.unlink(missing_ok=True)
    say(f"{best} cannot be read either ({why}){kept}: the run begins anew.")


def _beside(path: Path, put: Callable[[Path, Path], None]) -> Path:
    """Where it was put: a name that is free."""
    names = (path.with_name(f"{path.stem}.unreadable-{number}.ckpt") for number in itertools.count(1))
    free = next(name for name in names if not name.exists())
    put(path, free)
    return free


def _link(path: Path, other: Path) -> None:
    """So that there is no moment without a `last.ckpt`, where the disk has two names for a file."""
    try:
        os.link(path, other)
    except OSError:
        path.rename(other)
