"""The step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from omegaconf import MISSING


@dataclass
class OptimizerConfig:
    """Ours by name; one of your own needs no schema: a YAML file with `name` and `_target_`."""

    name: str = MISSING
    _target_: str = MISSING
    lr: Optional[float] = None
    """Base learning rate; null: the strategy's preset for this optimizer."""
    weight_decay: float = MISSING
    """Not applied to biases and normalisation layers."""


@dataclass
class AdamWConfig(OptimizerConfig):
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    eps: float = 1e-8


@dataclass
class SGDConfig(OptimizerConfig):
    momentum: float = 0.9
    nesterov: bool = False
