"""Normalisation layers: which they are, and what a policy holds fixed in them.

Freezing parameters does not freeze BatchNorm: its running statistics move with every forward pass in training
mode, whatever `requires_grad` says. So statistics are planned here like every other tensor.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from headstart.config.schema import NormPolicy


def norm_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Name -> every normalisation layer that holds tensors: torch's own, and other libraries' by their class name."""
    return {name: module for name, module in model.named_modules() if _is_norm(module)}


def _is_norm(module: nn.Module) -> bool:
    named_so = isinstance(module, nn.modules.batchnorm._NormBase) or "norm" in type(module).__name__.lower()
    return named_so and bool(module._parameters or module._buffers)


def statistics(name: str, module: nn.Module) -> set[str]:
    """Names of the running statistics of one layer; empty for LayerNorm and GroupNorm."""
    return {f"{name}.{buffer}" for buffer, _ in module.named_buffers(recurse=False)}


def affine(name: str, module: nn.Module) -> set[str]:
    """Names of weight and bias of one layer."""
    return {f"{name}.{parameter}" for parameter, _ in module.named_parameters(recurse=False)}


def held_fixed(name: str, module: nn.Module, policy: NormPolicy, loaded: Collection[str]) -> set[str]:
    """Tensors of one layer that `policy` keeps bit-equal; none where the source did not fill the layer."""
    moments, scale = statistics(name, module), affine(name, module)
    filled = (moments or scale) <= set(loaded)
    if policy is NormPolicy.train or not filled:
        return set()
    return moments | (scale & set(loaded)) if policy is NormPolicy.frozen else moments


def norm_state(name: str, module: nn.Module, frozen: Collection[str]) -> str:
    """`frozen`, `affine_only` or `train`: what one layer does under a plan."""
    moments, scale = statistics(name, module), affine(name, module)
    if moments | scale <= set(frozen):
        return "frozen"
    return "affine_only" if moments and moments <= set(frozen) else "train"


def norm_summary(states: Collection[str]) -> str:
    """The states of a stage's layers in one word: `-` without layers, joined by `+` where they differ."""
    return "+".join(state for state in ("frozen", "affine_only", "train") if state in states) or "-"
