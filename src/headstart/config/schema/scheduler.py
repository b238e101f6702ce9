"""The learning rate over a run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from omegaconf import MISSING


class Decay(Enum):
    constant = "constant"
    cosine = "cosine"


@dataclass
class SchedulerConfig:
    """Learning rate over the steps of the run, as a factor on each group's rate."""

    name: str = MISSING
    decay: Decay = MISSING
    warmup_fraction: float = 0.1
    """Share of all steps in which the rate rises linearly from 0.1 of itself."""
    final_factor: float = 0.01
    """Factor at the last step of a cosine decay."""
