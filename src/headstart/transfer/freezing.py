"""Which tensors and modules of a detector are held still."""

from __future__ import annotations

from collections.abc import Collection

from headstart.config.schema import NormPolicy, StrategyConfig, Thaw
from headstart.detectors.interface import Detector, Stage, stage_of_tensor
from headstart.errors import UserError
from headstart.transfer.norm import affine, held_fixed, norm_layers, statistics
from headstart.transfer.types import LoadReport, PhasePlan


def frozen_stages(config: StrategyConfig, through: str | None, stages: list[Stage], report: LoadReport) -> list[str]:
    """Names of the stages that are frozen from the input on, `through` the last.

    Raises `UserError` where `through` names no stage, or the source leaves nothing worth freezing.
    """
    names = [stage.name for stage in stages]
    if through is None:
        return []
    if through not in names:
        raise UserError(
            f"strategy.freeze_through={through} names no stage of this detector: "
            f"choose one of {', '.join(names)}, or null to freeze nothing"
        )
    if report.source == "scratch":
        raise UserError(
            f"source=scratch and strategy={config.name} do not go together: strategy.freeze_through="
            f"{through} would freeze random weights. Choose another source, or strategy=full"
        )
    return names[: names.index(through) + 1]


def frozen_tensors(
    detector: Detector,
    stages: Collection[str],
    norm: NormPolicy,
    loaded: Collection[str],
    thaw: Collection[Thaw] = (),
) -> set[str]:
    """Parameters and buffers that must not move: filled by the source, and in `stages` or fixed by `norm`; but for
    those that `thaw` exempts."""
    owner = stage_of_tensor(detector)
    frozen = {name for name, stage in owner.items() if stage in stages and name in loaded}
    for name, module in norm_layers(detector).items():
        moments = statistics(name, module)
        if _stage_of_module(name, detector.stages()) not in stages:
            frozen |= held_fixed(name, module, norm, loaded)
        elif not moments <= frozen:  # mean and variance are one estimate: they stay together or move together
            frozen -= moments
    return frozen - thawed(detector, thaw)


def thawed(detector: Detector, kinds: Collection[Thaw]) -> set[str]:
    """Names of the parameters of these kinds, wherever they are."""
    names: set[str] = set()
    if Thaw.norm in kinds:
        names |= {name for layer, module in norm_layers(detector).items() for name in affine(layer, module)}
    if Thaw.predictors in kinds:
        inside = tuple(f"{prefix}." for prefix in detector.predictors())
        names |= {name for name, _ in detector.named_parameters() if name.startswith(inside)}
    return names


def still_modules(detector: Detector, stages: Collection[str], frozen: Collection[str]) -> set[str]:
    """Modules that stay in eval mode, so that the frozen part computes in training what it computes in evaluation.

    They are all modules of `stages` that hold frozen tensors alone, with the dropout inside them, and every
    normalisation layer with fixed statistics.
    """
    owner = stage_of_tensor(detector)
    free_tensors = {name for name, stage in owner.items() if stage not in stages or name not in frozen}
    free_stages = {owner[name] for name in free_tensors}
    still = set()
    for name, module in detector.named_modules():
        inside = set(module.state_dict(prefix=f"{name}." if name else ""))
        if inside:
            holds = not inside & free_tensors
        else:  # dropout and the like: as their stage
            stage = _stage_of_module(name, detector.stages())
            holds = stage in stages and stage not in free_stages
        if holds or _inside(name, still):
            still.add(name)
    return still | {
        name
        for name, module in norm_layers(detector).items()
        if statistics(name, module) and statistics(name, module) <= set(frozen)
    }


def _inside(name: str, modules: Collection[str]) -> bool:
    return name.rpartition(".")[0] in modules if "." in name else False


def _stage_of_module(name: str, stages: list[Stage]) -> str | None:
    """None for a module that spans several stages."""
    for stage in stages:
        if any(name == prefix or name.startswith(prefix + ".") for prefix in stage.prefixes):
            return stage.name
    return None


def apply_phase(detector: Detector, phase: PhasePlan) -> bool:
    """Sets `requires_grad` of every parameter; whether any changed."""
    changed = False
    for name, parameter in detector.named_parameters():
        trains = name not in phase.frozen
        changed |= trains != parameter.requires_grad
        parameter.requires_grad_(trains)
    return changed


def set_train_mode(detector: Detector, phase: PhasePlan) -> None:
    """Training mode with the still part in eval: to be called instead of, or after, each `detector.train()`."""
    detector.train()
    for name in phase.eval_modules:
        detector.get_submodule(name).eval()
