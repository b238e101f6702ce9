"""Adapters: low-rank changes of frozen weights (LoRA, Hu et al., ICLR 2022), merged into them after training.

W' = W + alpha / rank * (B @ A), reshaped to W. For a convolution that is the change sum_r B[o, r] A[r, i, k, l] of
PEFT's Conv2d. It is ours because PEFT cannot merge where groups > 1, as in the depthwise convolutions that the smaller
backbones consist of, and gives the layers other names than the stages know.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from headstart.detectors.interface import Detector
from headstart.errors import UserError


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
    """Names in the state dict of the weights of all convolutions and linear layers that have no adapter yet."""
    layers = [name for name, module in detector.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
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
