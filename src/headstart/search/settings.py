"""The settings of `hydra/sweeper=optuna`. Imports nothing: Hydra loads them at every start."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Optional


class SamplerName(Enum):
    tpe = "tpe"
    random = "random"
    grid = "grid"


class PrunerName(Enum):
    median = "median"
    hyperband = "hyperband"


@dataclass
class Settings:
    """`hydra.sweeper.<setting>=…`"""

    n_trials: int = 20
    """Of the whole study: the same command again goes on up to this number."""
    storage: Optional[str] = None
    """`sqlite:///<file>`; null: `.study/optuna-<study_name>.db` below `output_dir`."""
    study_name: Optional[str] = None
    """null: from the search space, the other settings of the runs, the sampler, its seed and the pruner."""
    sampler: SamplerName = SamplerName.tpe
    """What proposes the settings of a trial; grid takes every combination once, in random order."""
    seed: int = 0
    """Of the sampler."""
    pruner: Optional[PrunerName] = PrunerName.median
    """What ends hopeless runs early. median: from a third of the epochs on, whoever was never above the median of the
    finished trials at this epoch; hyperband: successive halving; null: nothing."""
