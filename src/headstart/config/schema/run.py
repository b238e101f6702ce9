"""One experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from omegaconf import MISSING

from headstart.config.schema.augment import AugmentConfig
from headstart.config.schema.backbone import BackboneConfig
from headstart.config.schema.dataset import DatasetConfig
from headstart.config.schema.evaluation import EvaluationConfig
from headstart.config.schema.logger import LoggerConfig
from headstart.config.schema.model import ModelConfig
from headstart.config.schema.postprocess import PostprocessConfig
from headstart.config.schema.scheduler import SchedulerConfig
from headstart.config.schema.source import SourceConfig
from headstart.config.schema.strategy import StrategyConfig
from headstart.config.schema.study import StudyConfig
from headstart.config.schema.trainer import TrainerConfig
from headstart.config.schema.training import MonitorConfig, TrainingConfig


class OnChange(Enum):
    """Of a run that was begun before."""

    error = "error"  # say what has changed, and stop
    restart = "restart"  # set it aside in .replaced/ and start anew
    keep = "keep"  # a finished run stays as it is; an interrupted one goes on in other arithmetic, never on other data


@dataclass
class RunConfig:
    """One experiment: `python train.py`."""

    dataset: DatasetConfig = MISSING
    model: ModelConfig = MISSING
    backbone: BackboneConfig = MISSING
    source: SourceConfig = MISSING
    strategy: StrategyConfig = MISSING
    augment: AugmentConfig = MISSING
    optimizer: Any = MISSING
    scheduler: SchedulerConfig = MISSING
    trainer: TrainerConfig = MISSING
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    """Here, not in the group's files: several of them can be chosen, and each adds its logger."""
    monitor: MonitorConfig = field(default_factory=MonitorConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    postprocess: PostprocessConfig = field(default_factory=PostprocessConfig)
    study: StudyConfig = field(default_factory=StudyConfig)
    seed: int = 0
    """Of everything random: new layers, the order of images, augmentation, `dataset.fraction` and `shots`."""
    data_dir: str = MISSING
    """Where the named data sets lie: $HEADSTART_DATA, else data/."""
    output_dir: str = "outputs"
    """Where every run has its folder."""
    rerun: bool = False
    """Start anew: what an earlier command left of the run, finished or not, is set aside in `.replaced/`."""
    on_change: OnChange = OnChange.error
    """What to do where a run was begun on other data, from other weights, or in other arithmetic."""
