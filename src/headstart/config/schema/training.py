"""How a run trains, beside the groups."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Optional


@dataclass
class MonitorConfig:
    """What "best" means: for checkpoints, early stopping and the record."""

    name: str = "val/map"
    mode: str = "max"


class Keep(Enum):
    """Of a finished run's checkpoints; its model, record and history stay always."""

    model = "model"  # none
    best = "best"  # best.ckpt
    all = "all"  # best.ckpt and last.ckpt with the optimizer's state, and what both leave out


@dataclass
class TrainingConfig:
    ema_decay: Optional[float] = None
    """Decay per step of the moving average of the weights that is evaluated and exported; null: none. It warms up:
    min(ema_decay, (1 + t) / (10 + t)) after t steps."""
    early_stopping_patience: Optional[int] = None
    """Stop after this many validations without a better `monitor` in the strategy's last phase; null: never."""
    evaluate_untrained: bool = True
    """Measure the mAP before the first step: epoch 0 of the history."""
    profile: bool = False
    """Time what the fit spends on loading, augmentation, network, loss, optimizer, evaluation and the rest: a table at
    its end, profile.png in the run's folder, and `cost.profile` in the record; with a GPU its own time as well,
    `cost.gpu_profile`, and the share of training in which it had work, `cost.gpu_share`."""
    keep: Keep = Keep.model
    """Which checkpoints stay when the run is finished; while it is not, all are there to go on from."""
