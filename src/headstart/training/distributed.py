"""More than one process."""

from __future__ import annotations

import gc
from typing import Any

import lightning as L
from lightning.pytorch.strategies import DDPStrategy


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
