"""From a strategy, which is data, to a plan for one detector and one source."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from headstart.config.schema import NormPolicy, StrategyConfig
from headstart.detectors.interface import Detector, stage_of_tensor
from headstart.errors import UserError
from headstart.transfer.freezing import frozen_stages, frozen_tensors, still_modules
from headstart.transfer.norm import norm_layers, norm_state, norm_summary, statistics
from headstart.transfer.param_groups import param_groups
from headstart.transfer.types import LoadReport, ParamGroup, StagePlan, TransferPlan


def make_plan(config: StrategyConfig, optimizer: Any, detector: Detector, report: LoadReport) -> TransferPlan:
    """What trains, and at what rate.

    `optimizer` gives `name`, `lr` (None: the strategy's preset for that name) and `weight_decay`, as attributes
    or as keys. Raises `UserError` for a setting that cannot be obeyed or would have no effect.
    """
    stages = frozen_stages(config, detector.stages(), report)
    frozen = frozen_tensors(detector, stages, config.norm, report.loaded)
    lr_of_stage = _lr_of_stage(config, optimizer, detector)
    groups = param_groups(detector, frozen, lr_of_stage, _weight_decay(optimizer))
    _refuse(config, detector, frozen, groups)
    return TransferPlan(
        strategy=config.name,
        stages=_stage_plans(detector, frozen, groups),
        groups=groups,
        frozen=frozenset(frozen),
        eval_modules=frozenset(still_modules(detector, stages, frozen)),
        notes=(*_freezing_notes(config, stages, detector, frozen, report), *_norm_notes(config, detector, report)),
    )


# ------------------------------------------------------------------------------------------ learning rates


def _lr_of_stage(config: StrategyConfig, optimizer: Any, detector: Detector) -> dict[str, float]:
    stages = [stage.name for stage in detector.stages()]
    base = _base_lr(config, optimizer)
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
    return {stage: base * config.lr_factors.get(stage, 1.0) for stage in stages}


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


def _weight_decay(optimizer: Any) -> float:
    weight_decay = _setting(optimizer, "weight_decay")
    if weight_decay is None:
        raise UserError("optimizer.weight_decay is not set: give a number, 0 for none")
    return float(weight_decay)


def _setting(optimizer: Any, key: str) -> Any:
    return optimizer.get(key) if isinstance(optimizer, Mapping) else getattr(optimizer, key, None)


# -------------------------------------------------------------------------------------- what cannot be obeyed


def _refuse(
    config: StrategyConfig, detector: Detector, frozen: Collection[str], groups: tuple[ParamGroup, ...]
) -> None:
    stages = ", ".join(stage.name for stage in detector.stages())
    if not groups:
        raise UserError(
            f"strategy.freeze_through={config.freeze_through} leaves nothing to train: the source fills every tensor. "
            f"Name an earlier stage of {stages}"
        )
    training = {group.name.removesuffix("/no_decay") for group in groups}
    idle = [stage for stage in config.lr_factors if stage not in training]
    if idle:
        raise UserError(
            f"strategy.lr_factors.{idle[0]} has no effect: strategy.freeze_through={config.freeze_through} freezes "
            f"{idle[0]}. Remove one of the two (stages: {stages})"
        )
    for name, module in norm_layers(detector).items():
        moves = not statistics(name, module) <= set(frozen)
        if moves and getattr(module, "eps", None) == 0:
            raise UserError(
                f"strategy.norm={config.norm.value} cannot be used here: the source's normalisation layers have "
                f"epsilon 0 ({name}), with which batch statistics cannot be trained. "
                "Use strategy.norm=affine_only or frozen"
            )


# ------------------------------------------------------------------------------------------ rows and notes


def _stage_plans(detector: Detector, frozen: Collection[str], groups: tuple[ParamGroup, ...]) -> tuple[StagePlan, ...]:
    owner = stage_of_tensor(detector)
    lr_of_stage = {group.name.removesuffix("/no_decay"): group.lr for group in groups}
    sizes = {name: parameter.numel() for name, parameter in detector.named_parameters()}
    layers = norm_layers(detector)

    def row(stage: str) -> StagePlan:
        names = [name for name in sizes if owner[name] == stage]
        states = [
            norm_state(name, module, frozen)
            for name, module in layers.items()
            if owner[next(iter(module.state_dict(prefix=f"{name}.")))] == stage
        ]
        return StagePlan(
            stage=stage,
            parameters=sum(sizes[name] for name in names),
            trainable=sum(sizes[name] for name in names if name not in frozen),
            lr=lr_of_stage.get(stage),
            norm=norm_summary(states),
        )

    return tuple(row(stage.name) for stage in detector.stages())


def _freezing_notes(
    config: StrategyConfig, stages: list[str], detector: Detector, frozen: Collection[str], report: LoadReport
) -> list[str]:
    """Stages that the strategy would freeze, were it not for tensors that the source does not fill."""
    owner = stage_of_tensor(detector)
    notes = []
    for stage in stages:
        parameters = [name for name, _ in detector.named_parameters() if owner[name] == stage]
        free = [name for name in parameters if name not in frozen]
        although = f"although freeze_through={config.freeze_through}: {report.source} fills"
        if free and len(free) == len(parameters):
            notes.append(f"{stage} trains {although} none of it")
        elif free:
            notes.append(f"{len(free)} of {len(parameters)} tensors of {stage} train {although} only the others")
    return notes


def _norm_notes(config: StrategyConfig, detector: Detector, report: LoadReport) -> list[str]:
    """Normalisation layers whose statistics the policy would fix, had the source filled them."""
    owner = stage_of_tensor(detector)
    loaded = set(report.loaded)
    open_stages = {
        owner[tensor]
        for name, module in norm_layers(detector).items()
        for tensor in statistics(name, module)
        if not statistics(name, module) <= loaded
    }
    if config.norm is NormPolicy.train or not open_stages:
        return []
    names = ", ".join(stage.name for stage in detector.stages() if stage.name in open_stages)
    return [f"BatchNorm trains its statistics in {names} although norm={config.norm.value}: {report.source} has none"]
