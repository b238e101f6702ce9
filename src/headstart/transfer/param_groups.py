"""Optimizer groups: every trainable parameter in exactly one, at the rate of its stage."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from headstart.detectors.interface import Detector, stage_of_tensor
from headstart.transfer.norm import affine, norm_layers
from headstart.transfer.types import ParamGroup, TransferPlan


def param_groups(
    detector: Detector, frozen: Collection[str], lr_of_stage: Mapping[str, float], weight_decay: float
) -> tuple[ParamGroup, ...]:
    """One group per stage for weights, one for biases and normalisation layers, whose weight decay is 0.

    As in timm, every vector counts as such (a ConvNeXt layer scale is one). Empty groups are left out.
    """
    owner = stage_of_tensor(detector)
    spared = {name for layer, module in norm_layers(detector).items() for name in affine(layer, module)}
    members: dict[tuple[str, bool], list[str]] = {}
    for name, parameter in detector.named_parameters():
        if name not in frozen:
            decays = parameter.ndim > 1 and name not in spared
            members.setdefault((owner[name], decays), []).append(name)
    return tuple(
        ParamGroup(
            name=stage if decays else f"{stage}/no_decay",
            parameters=tuple(members[stage, decays]),
            lr=lr,
            weight_decay=weight_decay if decays else 0.0,
        )
        for stage, lr in lr_of_stage.items()
        for decays in (True, False)
        if (stage, decays) in members
    )


def optimizer_groups(detector: Detector, plan: TransferPlan) -> list[dict[str, Any]]:
    """`plan.groups` as torch's optimizers take them: `params`, `lr`, `weight_decay`, `name`."""
    parameters = dict(detector.named_parameters())
    grouped = [name for group in plan.groups for name in group.parameters]
    trainable = {name for name, parameter in parameters.items() if parameter.requires_grad}
    assert len(grouped) == len(set(grouped)), "a parameter is in two groups"
    assert set(grouped) == trainable, f"groups and trainable parameters differ: {set(grouped) ^ trainable}"
    return [
        {
            "params": [parameters[name] for name in group.parameters],
            "lr": group.lr,
            "weight_decay": group.weight_decay,
            "name": group.name,
        }
        for group in plan.groups
    ]
