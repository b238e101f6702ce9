"""The learning rate over a run, as a pure function of the step: a resume needs no state of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import lightning as L

from headstart.config.schema import Decay, SchedulerConfig
from headstart.transfer.types import TransferPlan

WARMUP_START = 0.1
"""Factor at the first step of the warm-up."""


def lr_factor(step: int, total_steps: int, config: SchedulerConfig) -> float:
    """Factor on every group's learning rate at `step` (from 0) of `total_steps`.

    Linear warm-up from `WARMUP_START` to 1, then constant or half a cosine down to `final_factor`
    (SGDR, Loshchilov & Hutter 2017, without restarts).
    """
    warmup_steps = round(config.warmup_fraction * total_steps)
    if step < warmup_steps:
        return WARMUP_START + (1 - WARMUP_START) * step / warmup_steps
    if config.decay is Decay.constant:
        return 1.0
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - 1 - warmup_steps))
    return config.final_factor + (1 - config.final_factor) * (1 + math.cos(math.pi * progress)) / 2


def planned_epochs(trainer: L.Trainer) -> int:
    """How many epochs the training has, begun ones included: by `max_epochs`, `max_steps` or both."""
    trainer.fit_loop.setup_data()  # with `max_steps` alone Lightning does not know the number of batches yet
    steps = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
    return math.ceil(trainer.estimated_stepping_batches / steps)


def group_factors(
    plan: TransferPlan, total_steps: int, epochs: int, config: SchedulerConfig
) -> list[Callable[[int], float]]:
    """For each group of the plan its factor on the learning rate, by step.

    It is `lr_factor` of the whole run, times the phase's own factor; a group that begins later warms up at its
    beginning, over `warmup_fraction` of the phase that it begins in.
    """
    steps_per_epoch = total_steps / epochs
    starts = [round(phase.start_epoch * steps_per_epoch) for phase in plan.phases]
    ends = [*starts[1:], total_steps]
    scales = [(start, phase.lr_factor) for start, phase in zip(starts, plan.phases, strict=True)]

    def factor(step: int, start: int, warmup_steps: int) -> float:
        scale = [value for begin, value in scales if begin <= step][-1]
        warm = 1.0
        if start > 0 and step < start + warmup_steps:
            warm = WARMUP_START + (1 - WARMUP_START) * max(0, step - start) / max(1, warmup_steps)
        return lr_factor(step, total_steps, config) * scale * warm

    begins = {phase.start_epoch: (start, end) for phase, start, end in zip(plan.phases, starts, ends, strict=True)}
    return [
        partial(factor, start=start, warmup_steps=round(config.warmup_fraction * (end - start)))
        for start, end in (begins[group.start_epoch] for group in plan.groups)
    ]
