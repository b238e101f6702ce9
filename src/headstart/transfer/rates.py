"""The learning rate of each stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.config.schema import StrategyConfig
from headstart.detectors.interface import Detector
from headstart.errors import UserError


def lr_of_stage(config: StrategyConfig, optimizer: Any, detector: Detector) -> dict[str, float]:
    """The base rate, times the stage's own factor where it has one, else `lr_decay` by its distance from the neck.

    With L stages behind the stem, stage i (the stem is 0) has the rate lr * d ** (L + 1 - i), neck and head have lr
    (BEiT, Bao et al., ICLR 2022; ViTDet, Li et al., ECCV 2022; with d = 1 / 2.6 ULMFiT, Howard & Ruder, ACL 2018).
    """
    stages = [stage.name for stage in detector.stages()]
    base = _base_lr(config, optimizer)
    decay = config.lr_decay
    if decay is not None and decay <= 0:
        raise UserError(f"strategy.lr_decay={decay} must be above 0; 1 is the same rate for every stage")
    for stage, factor in config.lr_factors.items():
        if stage not in stages:
            raise UserError(
                f"strategy.lr_factors.{stage} names no stage of this detector: choose from {', '.join(stages)}"
            )
        if factor <= 0:
            raise UserError(
                f"strategy.lr_factors.{stage}={factor} must be above 0: to keep a stage as it is, use "
                "strategy.freeze_through"
            )
    body = [stage for stage in stages if stage not in ("neck", "head")]
    factors = {stage: (decay or 1.0) ** (len(body) - place) for place, stage in enumerate(body)} | config.lr_factors
    return {stage: base * factors.get(stage, 1.0) for stage in stages}


def _base_lr(config: StrategyConfig, optimizer: Any) -> float:
    name, lr = _setting(optimizer, "name"), _setting(optimizer, "lr")
    if lr is None:
        lr = config.lr.get(name)
    if lr is None:
        raise UserError(
            f"strategy={config.name} has no learning rate for optimizer={name} (strategy.lr knows "
            f"{', '.join(config.lr) or 'none'}): set optimizer.lr, or strategy.lr.{name}"
        )
    if lr <= 0:
        raise UserError(f"the learning rate of optimizer={name} is {lr}: optimizer.lr must be above 0")
    return float(lr)


def weight_decay_of(optimizer: Any) -> float:
    """Raises `UserError` where it is not set."""
    weight_decay = _setting(optimizer, "weight_decay")
    if weight_decay is None:
        raise UserError("optimizer.weight_decay is not set: give a number, 0 for none")
    return float(weight_decay)


def _setting(optimizer: Any, key: str) -> Any:
    return optimizer.get(key) if isinstance(optimizer, Mapping) else getattr(optimizer, key, None)
