"""The detectors."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Optional

from omegaconf import MISSING


class Architecture(Enum):
    retinanet = "retinanet"
    faster_rcnn = "faster_rcnn"
    fcos = "fcos"
    ssd = "ssd"
    ssdlite = "ssdlite"
    d_fine = "d_fine"
    rt_detr = "rt_detr"


class Variant(Enum):
    """torchvision's generations of one architecture."""

    v1 = "v1"
    v2 = "v2"


class SSDVariant(Enum):
    """Whose SSD."""

    torchvision = "torchvision"
    tf = "tf"  # of TensorFlow's object detection API, on backbone=mobilenetv2_100


@dataclass
class ModelConfig:
    """What every detector has."""

    architecture: Architecture = MISSING
    score_threshold: float = 0.05
    """Detections below this score are dropped."""
    nms_threshold: float = 0.5
    """Of two detections of one class with a higher IoU than this, the worse is dropped."""
    detections_per_image: int = 100
    channels_last: bool = True
    """Memory layout of the convolutions: faster on CPUs and on GPUs with tensor cores, same result."""


@dataclass
class RetinaNetConfig(ModelConfig):
    variant: Variant = Variant.v1
    anchor_scale: Optional[float] = 1.0
    """Multiplies torchvision's anchor sizes (32 … 512 pixels); null: found from the training boxes."""


@dataclass
class FasterRCNNConfig(ModelConfig):
    variant: Variant = Variant.v1
    anchor_scale: Optional[float] = 1.0
    """As in RetinaNet."""


@dataclass
class FCOSConfig(ModelConfig):
    pass


@dataclass
class SSDConfig(ModelConfig):
    variant: SSDVariant = SSDVariant.torchvision


@dataclass
class SSDLiteConfig(ModelConfig):
    reduced_tail: bool = True
    """On torchvision's MobileNetV3: half the channels in the last layers. COCO weights have it, ImageNet's do not."""


class DFineSize(Enum):
    """Of D-FINE's models on the hub; what they are is in `config/detr_sizes.py`."""

    nano = "nano"
    small = "small"
    medium = "medium"
    large = "large"
    xlarge = "xlarge"


class RTDetrSize(Enum):
    """Of RT-DETR's, which are called by the ResNet that they were trained on."""

    r18 = "r18"
    r34 = "r34"
    r50m = "r50m"
    r50 = "r50"
    r101 = "r101"


@dataclass
class QueryConfig(ModelConfig):
    """What D-FINE and RT-DETR have: queries that ask a picture for objects, each for one."""

    hidden: Optional[int] = None
    """Channels of neck and decoder, whose other widths follow; null: those of `size`."""
    layers: Optional[int] = None
    """Of the decoder; null: those of `size`."""
    queries: int = 300
    denoising: int = 100
    """Queries of a training step that begin at objects moved by noise (Zhang et al., DINO, ICLR 2023); 0: none."""


@dataclass
class DFineConfig(QueryConfig):
    size: DFineSize = DFineSize.small


@dataclass
class RTDetrConfig(QueryConfig):
    variant: Variant = Variant.v1
    """v2: RT-DETRv2 (Lv et al., 2024)."""
    size: RTDetrSize = RTDetrSize.r18
