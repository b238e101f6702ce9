"""A dataclass for every node of the configuration that Headstart owns, a file for every group.

A default lives here or in a YAML file of `conf/`, never in both: here where every choice of a group shares it,
in the YAML where it is what that choice means. Imports nothing heavy: a wrong setting is answered before torch
is imported.
"""

from __future__ import annotations

from headstart.config.schema.augment import AugmentConfig
from headstart.config.schema.backbone import BackboneConfig, BackboneLibrary
from headstart.config.schema.dataset import (
    Cache,
    CocoConfig,
    CsvConfig,
    CvatConfig,
    DatasetConfig,
    DotaConfig,
    FileDatasetConfig,
    HuggingFaceConfig,
    LabelmeConfig,
    LabelStudioConfig,
    ListedConfig,
    OpenImagesConfig,
    Overlap,
    Resize,
    ShapesConfig,
    ViaConfig,
    VocConfig,
    YoloConfig,
)
from headstart.config.schema.evaluation import Engine, EvaluationConfig
from headstart.config.schema.logger import LoggerConfig, TensorBoardConfig, WandbConfig, WandbMode
from headstart.config.schema.model import (
    Architecture,
    FasterRCNNConfig,
    FCOSConfig,
    ModelConfig,
    RetinaNetConfig,
    SSDConfig,
    SSDLiteConfig,
    SSDVariant,
    Variant,
    YOLOv3Config,
)
from headstart.config.schema.optimizer import AdamWConfig, OptimizerConfig, SGDConfig
from headstart.config.schema.postprocess import Flip, Method, PostprocessConfig
from headstart.config.schema.run import OnChange, RunConfig
from headstart.config.schema.scheduler import Decay, SchedulerConfig
from headstart.config.schema.source import (
    CheckpointConfig,
    CocoSourceConfig,
    CocoSsdConfig,
    DarknetConfig,
    ImageNetConfig,
    PretrainedConfig,
    ScratchConfig,
    SourceConfig,
    SourceKind,
)
from headstart.config.schema.strategy import (
    AdaptersConfig,
    DistillConfig,
    FeatureStore,
    GradualConfig,
    NormPolicy,
    PhaseConfig,
    PullConfig,
    StrategyConfig,
    Thaw,
)
from headstart.config.schema.study import StudyConfig
from headstart.config.schema.tile import TileConfig
from headstart.config.schema.trainer import TrainerConfig
from headstart.config.schema.training import Keep, MonitorConfig, TrainingConfig
from headstart.config.schema.using import ExportConfig, ExportTo, Precision, PredictConfig, PushConfig, Quantize, Save
from headstart.config.schema.verbs import (
    CompareConfig,
    ConvertConfig,
    Cost,
    DoctorConfig,
    EvaluateConfig,
    Format,
    Ignored,
    LookConfig,
    ReportConfig,
    RescoreConfig,
    SourcesConfig,
)

__all__ = [
    "NODES",
    "SCHEMAS",
    "AdamWConfig",
    "AdaptersConfig",
    "Architecture",
    "AugmentConfig",
    "BackboneConfig",
    "BackboneLibrary",
    "Cache",
    "CheckpointConfig",
    "CocoConfig",
    "CocoSourceConfig",
    "CocoSsdConfig",
    "CompareConfig",
    "ConvertConfig",
    "Cost",
    "CsvConfig",
    "CvatConfig",
    "DarknetConfig",
    "DatasetConfig",
    "Decay",
    "DistillConfig",
    "DoctorConfig",
    "DotaConfig",
    "Engine",
    "EvaluateConfig",
    "EvaluationConfig",
    "ExportConfig",
    "ExportTo",
    "FCOSConfig",
    "FasterRCNNConfig",
    "FeatureStore",
    "FileDatasetConfig",
    "Flip",
    "Format",
    "GradualConfig",
    "HuggingFaceConfig",
    "Ignored",
    "ImageNetConfig",
    "Keep",
    "LabelStudioConfig",
    "LabelmeConfig",
    "ListedConfig",
    "LoggerConfig",
    "LookConfig",
    "Method",
    "ModelConfig",
    "MonitorConfig",
    "NormPolicy",
    "OnChange",
    "OpenImagesConfig",
    "OptimizerConfig",
    "Overlap",
    "PhaseConfig",
    "PostprocessConfig",
    "Precision",
    "PredictConfig",
    "PretrainedConfig",
    "PullConfig",
    "PushConfig",
    "Quantize",
    "ReportConfig",
    "RescoreConfig",
    "Resize",
    "RetinaNetConfig",
    "RunConfig",
    "SGDConfig",
    "SSDConfig",
    "SSDLiteConfig",
    "SSDVariant",
    "Save",
    "SchedulerConfig",
    "ScratchConfig",
    "ShapesConfig",
    "SourceConfig",
    "SourceKind",
    "SourcesConfig",
    "StrategyConfig",
    "StudyConfig",
    "TensorBoardConfig",
    "Thaw",
    "TileConfig",
    "TrainerConfig",
    "TrainingConfig",
    "Variant",
    "ViaConfig",
    "VocConfig",
    "WandbConfig",
    "WandbMode",
    "YOLOv3Config",
    "YoloConfig",
]

SCHEMAS: dict[str, dict[str, type]] = {
    "dataset": {
        "voc": VocConfig,
        "coco": CocoConfig,
        "yolo": YoloConfig,
        "csv": CsvConfig,
        "labelme": LabelmeConfig,
        "via": ViaConfig,
        "cvat": CvatConfig,
        "label_studio": LabelStudioConfig,
        "dota": DotaConfig,
        "open_images": OpenImagesConfig,
        "hugging_face": HuggingFaceConfig,
        "shapes": ShapesConfig,
    },
    "model": {
        "retinanet": RetinaNetConfig,
        "faster_rcnn": FasterRCNNConfig,
        "fcos": FCOSConfig,
        "ssd": SSDConfig,
        "ssdlite": SSDLiteConfig,
        "yolov3": YOLOv3Config,
    },
    "backbone": {"base": BackboneConfig},
    "source": {
        "scratch": ScratchConfig,
        "imagenet": ImageNetConfig,
        "coco": CocoSourceConfig,
        "coco_ssd": CocoSsdConfig,
        "darknet": DarknetConfig,
        "checkpoint": CheckpointConfig,
        "pretrained": PretrainedConfig,
    },
    "strategy": {"base": StrategyConfig},
    "augment": {"base": AugmentConfig},
    "optimizer": {"adamw": AdamWConfig, "sgd": SGDConfig},
    "scheduler": {"base": SchedulerConfig},
    "trainer": {"base": TrainerConfig},
}
"""Group -> name -> dataclass: each is in Hydra's ConfigStore as `<group>/schema_<name>`, which the YAML files
of the group name in their defaults list."""

NODES: dict[str, type] = {
    "monitor": MonitorConfig,
    "training": TrainingConfig,
    "evaluation": EvaluationConfig,
    "postprocess": PostprocessConfig,
    "study": StudyConfig,
}
"""Nodes of `RunConfig` that are no groups: there is one of each."""
