"""An exponential moving average of the weights, which is validated, kept and exported in their place."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn

foreach: Any = torch
"""All tensors of a list at once, as torch's own optimizers do; the names are not public."""


def decay_at(updates: int, decay: float) -> float:
    """The share of the average that stays, after so many updates.

    It grows to `decay`: a run of a few steps would else be measured by what its weights were at the beginning
    (the `num_updates` of TensorFlow's ExponentialMovingAverage).
    """
    return min(decay, (1 + updates) / (10 + updates))


@torch.no_grad()
def move(averages: list[Tensor], current: list[Tensor], updates: int, decay: float) -> None:
    """Moves each average towards its tensor, in place; all tensors have one device and one type.

    Of equal finite values the average is the value, to the last bit: what is frozen stays as it is. Neither
    `d * a + (1 - d) * c` is (torch's and Lightning's own), nor is `lerp`, which makes 0.0 of -0.0. Counters are copied.
    """
    if not averages[0].is_floating_point():
        foreach._foreach_copy_(averages, current)
        return
    distances = foreach._foreach_sub(averages, current)
    foreach._foreach_sub_(averages, distances, alpha=1 - decay_at(updates, decay))


class MovingAverage(WeightAveraging):
    """After the first step the average is its weights; `move` follows each further one.

    The number of updates travels in the checkpoint, so that a resumed run goes on with the same decay. Lightning leaves
    the average on the processor while the model is on a GPU, and torch waits for its counter in each step.
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        # Lightning copies the model, and fills the copy from a checkpoint, before it gives the model its precision.
        trainer.precision_plugin.convert_module(pl_module)
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self._latest_update_step:
            return
        assert self._average_model is not None
        for averages, current in _by_type(self._average_model.module, pl_module):
            if self._latest_update_step:
                move(averages, current, self._latest_update_step, self.decay)
            else:
                foreach._foreach_copy_(averages, current)
        self._average_model.n_averaged += 1
        self._latest_update_step = trainer.global_step


def _by_type(average: nn.Module, module: nn.Module) -> Iterable[tuple[list[Tensor], list[Tensor]]]:
    """Their parameters and buffers, beside each other."""
    found: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    pairs = zip(
        chain(average.parameters(), average.buffers()), chain(module.parameters(), module.buffers()), strict=True
    )
    for one, other in pairs:
        averages, current = found.setdefault(one.dtype, ([], []))
        averages.append(one.detach())
        current.append(other.detach())
    return found.values()
