"""More than one process."""

from __future__ import annotations

import gc
from typing import Any

import lightning as L
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy
from torch import nn


def rewrap(trainer: L.Trainer, module: L.LightningModule) -> None:
    """Wraps the module for DDP anew, after what trains has changed.

    DDP reduces the gradients of the parameters that were trainable when it was made. Those that begin to train later
    would be each process's own: the ranks drift apart, without an error (Lightning-AI/pytorch-lightning#20340).
    """
    strategy: Any = trainer.strategy
    if not isinstance(strategy, DDPStrategy):
        return
    strategy.model = None  # the old one's hooks on the parameters go with it
    gc.collect()
    strategy.model = strategy._setup_model(module)
    strategy._register_ddp_hooks()


def share_buffers(module: nn.Module) -> None:
    """Gives every process the buffers of that with rank 0.

    DDP does so before a training step alone: after the last one each has normalisation statistics of its own images,
    and validation would measure as many models as there are processes, of which one is saved.
    """
    if dist.is_available() and dist.is_initialized():
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)
