"""The run's numbers epoch by epoch, kept through interruptions and always written as `history.csv`."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from headstart.replacing import replacing


def measured(trainer: L.Trainer, module: Any) -> dict[str, float]:
    """What this epoch measured, by name: losses, and the validation's numbers if it was validated in it.

    Lightning keeps those of the last validation.
    """
    return {
        name: float(value)
        for name, value in trainer.callback_metrics.items()
        if module.validated or not name.startswith("val/")
    }


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
        row = {"epoch": trainer.current_epoch + 1} | measured(trainer, pl_module)
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
        with replacing(self.path) as path, path.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
