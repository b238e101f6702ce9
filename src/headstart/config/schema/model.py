"""The detectors."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Optional

from omegaconf import MISSING


class Architecture(Enum):
    retinanet = "retinanet"
    faster_rcnn = "faster_rcnn"
    fcos = "fcos"
    ssd = "ssd"
    ssdlite = "ssdlite"
    yolov3 = "yolov3"
    yolox = "yolox"


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


YOLOV3_ANCHORS = ((10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326))
"""Width and height of the paper's, found on COCO at 416 x 416 pixels."""


@dataclass
class YOLOv3Config(ModelConfig):
    anchors: Optional[list[list[int]]] = field(default_factory=lambda: [[*pair] for pair in YOLOV3_ANCHORS])
    """Width and height in pixels of nine, three for each map, those of the finest first; the paper's where nothing is
    said; null: k-means of the training boxes."""


@dataclass
class YOLOXConfig(ModelConfig):
    pass
