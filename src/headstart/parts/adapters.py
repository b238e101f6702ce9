"""Adapters: low-rank changes of frozen weights (LoRA, Hu et al., ICLR 2022), merged into them after training.

W' = W + alpha / rank * (B @ A), reshaped to W. For a convolution that is the change sum_r B[o, r] A[r, i, k, l] of
PEFT's Conv2d. It is ours because PEFT cannot merge where groups > 1, as in the depthwise convolutions that the smaller
backbones consist of, and gives the layers other names than the stages know.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from headstart.config.schema import RunConfig, StrategyConfig
from headstart.detectors.interface import Detector, stage_of_tensor
from headstart.errors import UserError
from headstart.parts.part import Part, Work
from headstart.transfer.rates import lr_of_stage, weight_decay_of
from headstart.transfer.types import LoadReport, ParamGroup, StagePlan, TransferPlan


class LowRankChange(nn.Module):
    """W -> W + alpha / rank * (B @ A), with W as the matrix (outputs, inputs / groups * cells of the kernel)."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        outputs, columns = weight.flatten(1).shape
        rank = min(rank, outputs, columns)
        self.scale = alpha / rank
        self.A = nn.Parameter(weight.new_empty(rank, columns))
        self.B = nn.Parameter(weight.new_zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):  # as when it is merged
            change = (self.B @ self.A).reshape(weight.shape)
            return torch.add(weight, change, alpha=self.scale)  # the first one's memory layout


def adaptable(detector: Detector) -> set[str]:
    """Names in the state dict of the weights of all convolutions, linear layers and embeddings that have none yet."""
    kinds = nn.Conv2d | nn.Linear | nn.Embedding
    layers = [name for name, module in detector.named_modules() if isinstance(module, kinds)]
    return {f"{layer}.weight" for layer in layers} & set(detector.state_dict())


def add_adapters(detector: Detector, weights: Collection[str], rank: int, alpha: float) -> dict[str, tuple[str, ...]]:
    """Freezes `weights`, names among the `adaptable` ones, and puts an adapter that changes nothing yet on each.

    A matrix whose smaller side is below `rank` has that side as its rank. Gives weight -> its new parameters, as in
    `named_parameters()`; the weight itself is now called `original_name(weight)`. Raises `UserError` where `rank` or
    `alpha` is not above 0.
    """
    for setting, value in (("rank", rank), ("alpha", alpha)):
        if not value > 0:
            raise UserError(f"strategy.adapters.{setting}={value} is not above 0: nothing would be learnt. Use 8 or 16")
    assert set(weights) <= adaptable(detector), f"no adapter for {set(weights) - adaptable(detector)}"
    # Each draws random numbers: so in the order of the network, not in that of a set.
    return {name: _add(detector, name, rank, alpha) for name in detector.state_dict() if name in set(weights)}


def _add(detector: Detector, name: str, rank: int, alpha: float) -> tuple[str, ...]:
    layer = detector.get_submodule(name.removesuffix(".weight"))
    weight = layer.get_parameter("weight").requires_grad_(False)
    change = LowRankChange(weight, rank, alpha)
    parametrize.register_parametrization(layer, "weight", change)
    prefix = original_name(name).removesuffix("original")
    return tuple(f"{prefix}0.{parameter}" for parameter, _ in change.named_parameters())


def original_name(name: str) -> str:
    """Name of a weight while its adapter is on: `conv.weight` is `conv.parametrizations.weight.original`."""
    layer, _, tensor = name.rpartition(".")
    return f"{layer}.parametrizations.{tensor}.original"


def merge_adapters(detector: Detector) -> None:
    """Adds the changes to the weights for good: the plain network, with its names in their order.

    The weights stay the parameters they are, frozen ones too. Does nothing without adapters.
    """
    for layer in detector.modules():
        if _adapted(layer):
            _merge(layer)


def _adapted(layer: nn.Module) -> bool:
    """Not what a backbone's library may have put on a weight, such as weight normalisation."""
    return parametrize.is_parametrized(layer, "weight") and any(
        isinstance(change, LowRankChange) for change in layer.get_submodule("parametrizations.weight").children()
    )


def _merge(layer: nn.Module) -> None:
    """In place of torch's `remove_parametrizations`: that takes the property `weight` from the layer's class, which a
    deep copy of the layer shares, and puts the weight behind the bias."""
    original = layer.get_parameter("parametrizations.weight.original")
    with torch.no_grad():
        original.copy_(layer.weight)  # type: ignore[arg-type]
    others = dict(layer.named_parameters(recurse=False))
    layer.__class__ = parametrize.type_before_parametrizations(layer)
    del layer.parametrizations
    for name in others:
        delattr(layer, name)
    for name, parameter in {"weight": original, **others}.items():
        layer.register_parameter(name, parameter)


# --------------------------------------------------------------------------------- the part of a strategy


def apply_adapters(config: StrategyConfig, optimizer: Any, detector: Detector, plan: TransferPlan) -> TransferPlan:
    """Adds the adapters of `config` to the detector; gives the plan with them.

    Raises `UserError` where nothing that could have one is frozen.
    """
    assert config.adapters is not None
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


class AdaptersPart(Part):
    name = "adapters"

    def __init__(self, strategy: StrategyConfig, optimizer: Any) -> None:
        self.strategy = strategy
        self.optimizer = optimizer

    def refusals(self, detector: Detector, report: LoadReport, plan: TransferPlan) -> Iterator[str]:
        config = self.strategy.adapters
        assert config is not None
        if self.strategy.freeze_through is None:
            yield (
                f"strategy.adapters.rank={config.rank} with strategy.freeze_through=null would train the same "
                "tensors in full and by adapters: set freeze_through=neck, or remove strategy.adapters"
            )
        if config.rank < 1:
            yield f"strategy.adapters.rank={config.rank} must be 1 or more, or strategy.adapters null"
        if len(plan.phases) > 1:
            yield (
                f"strategy.adapters and the phases of strategy={self.strategy.name} do not go together: a stage that "
                "opens would train its tensors in full and by adapters. Remove strategy.adapters, or gradual and phases"
            )

    def equip(self, detector: Detector, report: LoadReport, plan: TransferPlan) -> TransferPlan:
        return apply_adapters(self.strategy, self.optimizer, detector, plan)

    def after_fit(self, work: Work) -> None:
        merge_adapters(work.detector)


def adapters(config: RunConfig) -> Part | None:
    return None if config.strategy.adapters is None else AdaptersPart(config.strategy, config.optimizer)
