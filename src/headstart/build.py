"""Configuration -> objects of other libraries. Every `instantiate` of the project is here."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hydra.utils
import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import Profiler
from torch.optim import Optimizer

from headstart.config.schema import TrainerConfig
from headstart.training.signals import OwnSignals


def as_dict(node: Any) -> dict[str, Any]:
    """A configuration node, ours (a dataclass) or foreign (a dict), as a dict."""
    return dict(node) if isinstance(node, Mapping) else dataclasses.asdict(node)


FUSED = {"torch.optim.AdamW": ("cuda", "cpu"), "torch.optim.Adam": ("cuda", "cpu"), "torch.optim.SGD": ("cuda",)}
"""Where all tensors are updated in one pass. On a CPU that is 2.6 times as fast for AdamW, and slower for SGD."""
OWN_WAY = {"fused", "foreach", "capturable", "differentiable"}
"""Arguments of an optimizer by which a user has chosen otherwise."""


def is_fused(config: Any, device: str) -> bool:
    """Whether the optimizer updates all tensors in one pass on `cuda` or `cpu`; the last bits of a sum may differ."""
    settings = as_dict(config)
    return device in FUSED.get(settings["_target_"], ()) and not OWN_WAY & settings.keys()


def optimizer_factory(config: Any) -> Callable[[list[dict[str, Any]]], Optimizer]:
    """Parameter groups -> optimizer. Rate and weight decay come with the groups."""
    settings = {key: value for key, value in as_dict(config).items() if key not in ("name", "lr", "weight_decay")}

    def make(groups: list[dict[str, Any]]) -> Optimizer:
        fused = is_fused(config, groups[0]["params"][0].device.type)
        make_optimizer: Any = hydra.utils.instantiate(settings, _partial_=True, _convert_="all")
        optimizer = make_optimizer(groups, **({"fused": True} if fused else {}))
        # Lightning clips no gradients of an optimizer that says it could unscale them itself.
        optimizer._step_supports_amp_scaling = False
        return optimizer

    return make


def resolve_precision(config: TrainerConfig) -> str:
    """`auto` as what it stands for on this machine; anything else as it is.

    bf16-mixed where the hardware computes in it: elsewhere it is emulated, and slower than float32.
    """
    if config.precision != "auto":
        return str(config.precision)
    if torch.cuda.is_available() and config.accelerator != "cpu":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    return "bf16-mixed" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "32-true"


def training_device(config: TrainerConfig) -> torch.device:
    """Of this process, before a Trainer exists."""
    if config.accelerator not in ("auto", "gpu", "cuda") or not torch.cuda.is_available():
        return torch.device("cpu")
    chosen = [int(number) for number in config.devices] if isinstance(config.devices, list) else []
    rank = int(os.environ.get("LOCAL_RANK", 0))
    return torch.device("cuda", chosen[rank] if rank < len(chosen) else rank)


def build_trainer(
    config: TrainerConfig,
    folder: Path,
    callbacks: list[Callback],
    loggers: list[Logger],
    progress: Callback | None,
    profiler: Profiler | None = None,
) -> L.Trainer:
    """Lightning's Trainer with the arguments under `trainer`, as they are (config/checks.py refuses a few)."""
    arguments: dict[str, Any] = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    arguments |= {
        "precision": resolve_precision(config),
        "default_root_dir": folder,
        "profiler": profiler or config.profiler,
        "callbacks": [OwnSignals(), *callbacks, *([progress] if progress else [])],
        "logger": loggers or False,
        # Without a terminal `progress` prints lines and is no bar; Lightning would add its own.
        "enable_progress_bar": isinstance(progress, ProgressBar),
    }
    return L.Trainer(**arguments)
