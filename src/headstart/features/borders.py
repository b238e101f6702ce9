"""Where the frozen front of a network ends: in front of the first thing that moves in a phase of the plan."""

from __future__ import annotations

from headstart.detectors.interface import Detector, stage_of_tensor
from headstart.detectors.split import still
from headstart.transfer.freezing import set_train_mode
from headstart.transfer.types import PhasePlan


def frozen_front(detector: Detector, phase: PhasePlan) -> list[str]:
    """Names of the stages in front of the first that has a tensor that moves, or a layer that computes in training
    what it does not in evaluation: adapters and dropout as well. Never the head's."""
    owner, front = stage_of_tensor(detector), []
    moving = {owner[name] for name in owner if name not in phase.frozen and not name.endswith("num_batches_tracked")}
    moving |= _awake(detector, phase)
    for stage in detector.stages()[:-1]:
        if stage.name in moving:
            break
        front.append(stage.name)
    return front


def tensors_through(detector: Detector, stage: str) -> list[str]:
    """Names of the parameters and buffers of the stages up to `stage`."""
    names = [each.name for each in detector.stages()]
    front = names[: names.index(stage) + 1]
    return [name for name, owner in stage_of_tensor(detector).items() if owner in front]


def _awake(detector: Detector, phase: PhasePlan) -> set[str]:
    """Stages with a layer in training mode."""
    with still(detector):
        set_train_mode(detector, phase)
        modules = [name for name, module in detector.named_modules() if module.training]
    prefixes = {stage.name: tuple(f"{prefix}." for prefix in stage.prefixes) for stage in detector.stages()}
    return {stage for stage, of_stage in prefixes.items() if any(f"{name}.".startswith(of_stage) for name in modules)}
