"""Adapters put into a plan: the frozen weights stay frozen under another name, what is added to them trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from headstart.config.schema import StrategyConfig
from headstart.detectors.interface import Detector, stage_of_tensor
from headstart.errors import UserError
from headstart.transfer.adapters import adaptable, add_adapters, original_name
from headstart.transfer.rates import lr_of_stage, weight_decay_of
from headstart.transfer.types import ParamGroup, StagePlan, TransferPlan


def apply_adapters(config: StrategyConfig, optimizer: Any, detector: Detector, plan: TransferPlan) -> TransferPlan:
    """Adds the adapters of `config` to the detector; the plan with them. Without `config.adapters` both as they are.

    Raises `UserError` where nothing that could have one is frozen.
    """
    if config.adapters is None:
        return plan
    owner, possible = stage_of_tensor(detector), adaptable(detector) & plan.frozen
    weights = [name for name, _ in detector.named_parameters() if name in possible]
    if not weights:
        raise UserError(
            f"strategy.adapters.rank={config.adapters.rank} has no effect: strategy.freeze_through="
            f"{config.freeze_through} freezes no convolution or linear layer that the source fills"
        )
    added = add_adapters(detector, weights, config.adapters.rank, config.adapters.alpha)
    rates, decay = lr_of_stage(config, optimizer, detector), weight_decay_of(optimizer)
    of_stage: dict[str, list[str]] = {}
    for weight, names in added.items():
        of_stage.setdefault(owner[weight], []).extend(names)
    groups = [ParamGroup(f"{stage}/adapters", tuple(names), rates[stage], decay) for stage, names in of_stage.items()]
    sizes = {name: parameter.numel() for name, parameter in detector.named_parameters()}
    return replace(
        plan,
        groups=(*plan.groups, *groups),
        phases=tuple(
            replace(phase, frozen=frozenset(original_name(name) if name in added else name for name in phase.frozen))
            for phase in plan.phases
        ),
        stages=tuple(_row(row, of_stage, sizes, rates) for row in plan.stages),
    )


def _row(
    row: StagePlan, of_stage: Mapping[str, list[str]], sizes: Mapping[str, int], rates: Mapping[str, float]
) -> StagePlan:
    if row.stage not in of_stage:
        return row
    added = sum(sizes[name] for name in of_stage[row.stage])
    return replace(row, trainable=row.trainable + added, lr=rates[row.stage], start_epoch=0)
