"""The feature extractor."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from omegaconf import MISSING


class BackboneLibrary(Enum):
    timm = "timm"
    torchvision = "torchvision"


@dataclass
class BackboneConfig:
    """The feature extractor. Mean and standard deviation of its inputs belong to its weights, not here."""

    name: str = MISSING
    """Short name, in the run's name."""
    library: BackboneLibrary = MISSING
    architecture: str = MISSING
    """The library's name: `resnet50`, `tf_efficientnet_lite0`, or any timm model with `features_only`."""
    tensorflow: bool = False
    """Padding and epsilon as TensorFlow has them (timm: pad_type=same, bn_eps=0.001), for weights from there."""
    darknet: bool = False
    """Leaky ReLUs with Darknet's slope of 0.1 (timm: 0.01), for weights from there."""
    neck_channels: int = 256
    """Width of the feature pyramid and of the heads on it; of YOLOv3, of the middle one of three maps."""
