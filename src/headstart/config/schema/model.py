"""The detectors."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional

from omegaconf import MISSING


class Architecture(Enum):
    retinanet = "retinanet"
    faster_rcnn = "faster_rcnn"
    fcos = "fcos"
    ssd = "ssd"
    ssdlite = "ssdlite"
    extension = "extension"  # in a file of the user's own
    yolov3 = "yolov3"
    yolox = "yolox"
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


class Neck(Enum):
    """How the maps of a body are fused."""

    fpn = "fpn"  # downwards (Lin et al., CVPR 2017)
    pan = "pan"  # downwards, then upwards (Liu et al., CVPR 2018); begins as fpn
    bifpn = "bifpn"  # both, three times, by learnt weights (Tan et al., CVPR 2020)


class Attention(Enum):
    """To what in each map."""

    none = "none"
    se = "se"  # channels (Hu et al., CVPR 2018)
    cbam = "cbam"  # channels, then places (Woo et al., ECCV 2018)
    eca = "eca"  # channels, by their neighbours (Wang et al., CVPR 2020)
    coordinate = "coordinate"  # rows and columns of each channel (Hou et al., CVPR 2021)


class OverlapLoss(Enum):
    """Of a box, by what it shares with the one that is wanted."""

    giou = "giou"  # Rezatofighi et al., CVPR 2019
    diou = "diou"  # Zheng et al., AAAI 2020
    ciou = "ciou"  # the same


class BoxLoss(Enum):
    """Of a box, or of its code."""

    l1 = "l1"
    smooth_l1 = "smooth_l1"  # Girshick, ICCV 2015
    giou = "giou"
    diou = "diou"
    ciou = "ciou"


class ClassLoss(Enum):
    """Of a dense head's classes."""

    focal = "focal"  # Lin et al., ICCV 2017
    quality_focal = "quality_focal"  # scores say the IoU of their boxes (Li et al., NeurIPS 2020)


@dataclass
class PyramidConfig(ModelConfig):
    """What detectors on a feature pyramid have besides."""

    neck: Neck = Neck.fpn
    """How the maps of the backbone are fused: fpn, pan or bifpn; what the source does not have of it is new."""
    attention: Attention = Attention.none
    """To the maps between backbone and neck: none, se, cbam, eca or coordinate; begins as identity."""


@dataclass
class RetinaNetConfig(PyramidConfig):
    variant: Variant = Variant.v1
    anchor_scale: Optional[float] = 1.0
    """Multiplies torchvision's anchor sizes (32 … 512 pixels); null: found from the training boxes."""
    box_loss: Optional[BoxLoss] = None
    """l1, smooth_l1, giou, diou or ciou; null: the variant's own, l1 of v1 and giou of v2."""
    class_loss: ClassLoss = ClassLoss.focal
    """focal, or quality_focal: a score then says how well its box fits, too."""


@dataclass
class FasterRCNNConfig(PyramidConfig):
    variant: Variant = Variant.v1
    anchor_scale: Optional[float] = 1.0
    """As in RetinaNet."""


@dataclass
class FCOSConfig(PyramidConfig):
    box_loss: Optional[OverlapLoss] = None
    """giou, diou or ciou; null: the paper's successors' and torchvision's, giou."""


@dataclass
class SSDConfig(ModelConfig):
    variant: SSDVariant = SSDVariant.torchvision


@dataclass
class SSDLiteConfig(ModelConfig):
    reduced_tail: bool = True
    """On torchvision's MobileNetV3: half the channels in the last layers. COCO weights have it, ImageNet's do not."""


@dataclass
class ExtensionConfig(ModelConfig):
    name: str = MISSING
    """In the run's name."""
    file: str = MISSING
    """A Python file of your own with a dataclass `Settings` and a function `build`: it is run."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What its `Settings` have."""


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
