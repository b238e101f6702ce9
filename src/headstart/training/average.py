"""An exponential moving average of the weights, which is validated, kept and exported in their place."""

from __future__ import annotations

from functools import partial
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

foreach: Any = torch
"""All tensors of a list at once, as torch's own optimizers do; the names are not public."""


def decay_at(updates: int, decay: float) -> float:
    """The share of the average that stays, after so many updates.

    It grows to `decay`: a run of a few steps would else be measured by what its weights were at the beginning
    (the `num_updates` of TensorFlow's ExponentialMovingAverage).
    """
    return min(decay, (1 + updates) / (10 + updates))


@torch.no_grad()
def move(averages: list[Tensor], current: list[Tensor], updates: Tensor | int, decay: float) -> None:
    """Moves each average towards its tensor, in place; all tensors have one device and one type.

    Of equal finite values the average is the value, to the last bit: what is frozen stays as it is. Neither
    `d * a + (1 - d) * c` is (torch's and Lightning's own), nor is `lerp`, which makes 0.0 of -0.0. Counters are copied.
    """
    if not averages[0].is_floating_point():
        foreach._foreach_copy_(averages, current)
        return
    distances = foreach._foreach_sub(averages, current)
    foreach._foreach_sub_(averages, distances, alpha=1 - decay_at(int(updates), decay))


class MovingAverage(WeightAveraging):
    """After the first step the average is its weights; `move` follows each further one.

    The number of updates travels in the checkpoint, so that a resumed run goes on with the same decay.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=partial(move, decay=decay))

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        # Lightning copies the model, and fills the copy from a checkpoint, before it gives the model its precision.
        trainer.precision_plugin.convert_module(pl_module)
        super().setup(trainer, pl_module, stage)
