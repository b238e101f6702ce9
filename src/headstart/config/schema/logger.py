"""Where numbers and pictures go."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Optional


class WandbMode(Enum):
    auto = "auto"  # online when logged in, else offline: never asks for an account
    online = "online"
    offline = "offline"


@dataclass
class WandbConfig:
    """A run in Weights & Biases."""

    project: Optional[str] = None
    """null: headstart; of a comparison, that of its runs."""
    entity: Optional[str] = None
    """User or team; null: your default; of a comparison, that of its runs."""
    group: Optional[str] = None
    """The runs of a study have its name here unless another is given; a comparison has that of its runs."""
    tags: list[str] = field(default_factory=list)
    notes: Optional[str] = None
    mode: WandbMode = WandbMode.auto


@dataclass
class TensorBoardConfig:
    log_graph: bool = False


@dataclass
class LoggerConfig:
    """`history.csv` is always written. `logger='[wandb,tensorboard]'` uses several."""

    wandb: Optional[WandbConfig] = None
    tensorboard: Optional[TensorBoardConfig] = None
    log_images: int = 8
    """Validation images sent with ground truth and predictions, to the loggers that show images."""
