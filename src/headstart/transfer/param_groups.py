"""Optimizer groups: every parameter that trains at any time in exactly one, at the rate of its stage."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from headstart.detectors.interface import Detector, stage_of_tensor
from headstart.transfer.norm import affine, norm_layers
from headstart.transfer.types import ParamGroup, TransferPlan


def param_groups(
    detector: Detector,
    start_epochs: Mapping[str, int],
    lr_of_stage: Mapping[str, float],
    weight_decay: float,
    pulled: Collection[str] = (),
) -> tuple[ParamGroup, ...]:
    """One group per stage for weights, one for biases and normalisation layers, whose weight decay is 0.

    `start_epochs` gives each parameter that trains the epochs done when it begins to; a stage whose parameters begin
    at different times has a group for each. As in timm, every vector counts as a bias (a ConvNeXt layer scale is one).
    What is `pulled` has no weight decay either: the two would fight (L2-SP, Li et al., ICML 2018).
    """
    owner = stage_of_tensor(detector)
    spared = {name for layer, module in norm_layers(detector).items() for name in affine(layer, module)} | set(pulled)
    members: dict[tuple[str, bool, int], list[str]] = {}
    for name, parameter in detector.named_parameters():
        if name in start_epochs:
            decays = parameter.ndim > 1 and name not in spared
            members.setdefault((owner[name], decays, start_epochs[name]), []).append(name)
    first = {stage: min(start for other, _, start in members if other == stage) for stage, _, _ in members}
    order = {stage: place for place, stage in enumerate(lr_of_stage)}
    return tuple(
        ParamGroup(
            name=stage + ("" if decays else "/no_decay") + (f"/from{start}" if start > first[stage] else ""),
            parameters=tuple(members[stage, decays, start]),
            lr=lr_of_stage[stage],
            weight_decay=weight_decay if decays else 0.0,
            start_epoch=start,
        )
        for stage, decays, start in sorted(members, key=lambda key: (order[key[0]], not key[1], key[2]))
    )


def optimizer_groups(detector: Detector, plan: TransferPlan) -> list[dict[str, Any]]:
    """`plan.groups` as torch's optimizers take them: `params`, `lr`, `weight_decay`, `name`.

    All of them from the first step on, also those that begin later: so a resumed optimizer has the same ones.
    """
    parameters = dict(detector.named_parameters())
    grouped = [name for group in plan.groups for name in group.parameters]
    trained = set(parameters) - plan.frozen
    assert len(grouped) == len(set(grouped)), "a parameter is in two groups"
    assert set(grouped) == trained, f"groups and trained parameters differ: {set(grouped) ^ trained}"
    return [
        {
            "params": [parameters[name] for name in group.parameters],
            "lr": group.lr,
            "weight_decay": group.weight_decay,
            "name": group.name,
        }
        for group in plan.groups
    ]
