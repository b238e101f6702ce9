"""The run's numbers epoch by epoch, kept through interruptions and always written as `history.csv`."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback


class History(Callback):
    """`rows`: one a epoch, from 1; epoch 0 is the untrained model.

    Lightning's own CSVLogger deletes what it wrote before when a run is resumed; this travels in the checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "history.csv"
        self.rows: list[dict[str, Any]] = []

    def add_untrained(self, scalars: Mapping[str, float]) -> None:
        """The validation of the model before its first step."""
        self.rows = [{"epoch": 0} | {f"val/{name}": float(value) for name, value in scalars.items()}]

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        validated = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
        row: dict[str, Any] = {"epoch": trainer.current_epoch + 1}
        row |= {
            name.removesuffix("_epoch"): value
            for name, value in metrics.items()
            if (name.startswith("train/") and not name.endswith("_step") and f"{name}_epoch" not in metrics)
            or (name.startswith("val/") and validated)  # else it is the value of an earlier epoch
        }
        row |= {f"lr/{group['name']}": group["lr"] for group in trainer.optimizers[0].param_groups}
        self.rows.append(row)
        if trainer.is_global_zero:
            self._write()

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = state_dict["rows"]

    def _write(self) -> None:
        columns = list(dict.fromkeys(name for row in reversed(self.rows) for name in row))
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
        temporary.replace(self.path)
