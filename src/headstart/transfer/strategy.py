"""From a strategy, which is data, to a plan for one detector and one source."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from headstart.config.schema import NormPolicy, StrategyConfig
from headstart.detectors.interface import Detector, stage_of_tensor
from headstart.transfer.freezing import frozen_stages, frozen_tensors, still_modules
from headstart.transfer.norm import norm_layers, norm_state, norm_summary, statistics
from headstart.transfer.param_groups import param_groups
from headstart.transfer.phases import PhaseStart, phase_starts
from headstart.transfer.rates import lr_of_stage, weight_decay_of
from headstart.transfer.refusals import refuse
from headstart.transfer.types import LoadReport, ParamGroup, PhasePlan, StagePlan, TransferPlan


def make_plan(
    config: StrategyConfig, optimizer: Any, detector: Detector, report: LoadReport, epochs: int | None = None
) -> TransferPlan:
    """What trains, when, and at what rate.

    `optimizer` gives `name`, `lr` (None: the strategy's preset for that name) and `weight_decay`, as attributes
    or as keys; `epochs` is the length of the training, which phases need. Raises `UserError` for a setting that
    cannot be obeyed or would have no effect.
    """
    at_first = frozen_stages(config, config.freeze_through, detector.stages(), report)
    starts = phase_starts(config, _frozen_in_fact(config, detector, report, at_first), epochs)
    phases = tuple(_phase(config, detector, report, start) for start in starts)
    opened = _start_epochs(detector, phases)
    pulled = _pulled(config, report, opened)
    groups = param_groups(
        detector, opened, lr_of_stage(config, optimizer, detector), weight_decay_of(optimizer), pulled
    )
    plan = TransferPlan(
        strategy=config.name,
        stages=_stage_plans(detector, opened, phases[-1], groups),
        groups=groups,
        phases=phases,
        pulled=pulled,
        notes=(
            *_freezing_notes(config, at_first, detector, phases[0].frozen, report),
            *_norm_notes(config, detector, report),
            *_phase_notes(phases),
            *_passed_over(starts),
        ),
    )
    refuse(config, detector, report, plan)
    return plan


# ------------------------------------------------------------------------------------------------- phases


def _phase(config: StrategyConfig, detector: Detector, report: LoadReport, start: PhaseStart) -> PhasePlan:
    stages = frozen_stages(config, start.freeze_through, detector.stages(), report)
    frozen = frozen_tensors(detector, stages, config.norm, report.loaded, config.thaw)
    still = still_modules(detector, stages, frozen)
    return PhasePlan(start.name, start.start_epoch, frozenset(frozen), frozenset(still), start.lr_factor)


def _frozen_in_fact(config: StrategyConfig, detector: Detector, report: LoadReport, stages: Sequence[str]) -> list[str]:
    """Those of `stages` of which at least one parameter is frozen."""
    owner = stage_of_tensor(detector)
    frozen = frozen_tensors(detector, stages, config.norm, report.loaded, config.thaw)
    still = {owner[name] for name, _ in detector.named_parameters() if name in frozen}
    return [stage for stage in stages if stage in still]


def _start_epochs(detector: Detector, phases: Sequence[PhasePlan]) -> dict[str, int]:
    """Parameter that trains in some phase -> the beginning of the first of them."""
    return {
        name: next(phase.start_epoch for phase in phases if name not in phase.frozen)
        for name, _ in detector.named_parameters()
        if any(name not in phase.frozen for phase in phases)
    }


def _pulled(config: StrategyConfig, report: LoadReport, opened: Collection[str]) -> tuple[str, ...]:
    known = (*report.loaded, *report.partial)
    return tuple(name for name in known if name in opened) if config.pull is not None else ()


# ------------------------------------------------------------------------------------------ rows and notes


def _stage_plans(
    detector: Detector, opened: dict[str, int], last: PhasePlan, groups: tuple[ParamGroup, ...]
) -> tuple[StagePlan, ...]:
    owner = stage_of_tensor(detector)
    lr_of_stage = {group.name.partition("/")[0]: group.lr for group in groups}
    sizes = {name: parameter.numel() for name, parameter in detector.named_parameters()}
    layers = norm_layers(detector)

    def row(stage: str) -> StagePlan:
        names = [name for name in sizes if owner[name] == stage]
        states = [
            norm_state(name, module, last.frozen)
            for name, module in layers.items()
            if owner[next(iter(module.state_dict(prefix=f"{name}.")))] == stage
        ]
        return StagePlan(
            stage=stage,
            parameters=sum(sizes[name] for name in names),
            trainable=sum(sizes[name] for name in names if name in opened),
            lr=lr_of_stage.get(stage),
            norm=norm_summary(states),
            start_epoch=min((opened[name] for name in names if name in opened), default=None),
        )

    return tuple(row(stage.name) for stage in detector.stages())


def _freezing_notes(
    config: StrategyConfig, stages: list[str], detector: Detector, frozen: Collection[str], report: LoadReport
) -> list[str]:
    """Stages that the strategy would freeze, were it not for tensors that the source does not fill."""
    owner = stage_of_tensor(detector)
    loaded = set(report.loaded)
    notes = []
    for stage in stages:
        parameters = [name for name, _ in detector.named_parameters() if owner[name] == stage]
        free = [name for name in parameters if name not in frozen and name not in loaded]
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
    notes = []
    if config.norm is NormPolicy.recalibrate:
        notes.append("BatchNorm statistics are estimated anew on the target's images, before the first step")
    if config.norm is not NormPolicy.train and open_stages:
        names = ", ".join(stage.name for stage in detector.stages() if stage.name in open_stages)
        notes.append(
            f"BatchNorm trains its statistics in {names} although norm={config.norm.value}: {report.source} has none"
        )
    return notes


def _phase_notes(phases: Sequence[PhasePlan]) -> list[str]:
    return [
        f"after epoch {phase.start_epoch}: {phase.name}"
        + (f", rates times {phase.lr_factor:g}" if phase.lr_factor != 1 else "")
        for phase in phases
        if phase.start_epoch > 0
    ]


def _passed_over(starts: Sequence[PhaseStart]) -> list[str]:
    """Phases that the training is too short for."""
    return [
        f"no epoch is left to {', '.join(each.passed_over)}: {each.name} begins" for each in starts if each.passed_over
    ]
