"""The learning rate over a run, as a pure function of the step: a resume needs no state of it."""

from __future__ import annotations

import math

from headstart.config.schema import Decay, SchedulerConfig

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
