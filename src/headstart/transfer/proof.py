"""The proof that frozen tensors did not move: digests before and after training."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from headstart.transfer.types import SourceWeights

FROZEN_FILE = "frozen.safetensors"
"""Beside the checkpoints of a run: the tensors that it does not move, which no checkpoint repeats."""


def tensor_digests(model: nn.Module, names: Collection[str]) -> dict[str, str]:
    """Name -> sha256 of the tensor's bytes, for the named parameters and buffers; independent of memory layout."""
    state = model.state_dict()
    return _digests({name: state[name] for name in names})


def _digests(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    return {name: hashlib.sha256(_bytes(tensor)).hexdigest() for name, tensor in sorted(tensors.items())}


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def weights_digest(weights: SourceWeights) -> str:
    """One sha256 over a source's tensors and what they know about themselves."""
    known = (weights.row_names, weights.preprocessing, weights.norm_eps)
    return combined({repr(known): "", **_digests(weights.tensors)})


def digest(model: nn.Module, names: Collection[str]) -> str:
    """One sha256 over names and bytes of the named tensors."""
    return combined(tensor_digests(model, names))


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """As `digest`, of tensors that are in no model."""
    return combined(_digests(tensors))


def combined(digests: Mapping[str, str]) -> str:
    """One sha256 over a result of `tensor_digests`, or a part of it."""
    lines = [f"{name} {value}" for name, value in digests.items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def moved(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Names of the tensors whose bytes differ between two results of `tensor_digests`."""
    return [name for name in before if before[name] != after[name]]
