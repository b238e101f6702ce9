"""In which arithmetic a run computes: known before it begins."""

from __future__ import annotations

from typing import Any

import torch

from headstart.build import is_fused, resolve_precision
from headstart.config.schema import TrainerConfig


def arithmetic(config: TrainerConfig, optimizer: Any) -> dict[str, Any]:
    """`precision` as `auto` turns out, `device`: `cpu`, `mps` or the GPU's name, `fused_optimizer`, and
    `threads` of this process."""
    device = device_name(config)
    return {
        "precision": resolve_precision(config),
        "device": device,
        "fused_optimizer": is_fused(optimizer, device if device in ("cpu", "mps") else "cuda"),
        "threads": torch.get_num_threads(),
    }


def device_name(config: TrainerConfig) -> str:
    """Of the device trained on; of several GPUs the first."""
    if config.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        chosen = config.devices if isinstance(config.devices, list) and config.devices else [0]
        return torch.cuda.get_device_name(int(chosen[0]))
    if config.accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return "mps"
    return "cpu"
