"""Feature extractors of timm and torchvision, each with its ordered stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import timm
import torch
import torchvision
from torch import nn
from torchvision.models._utils import IntermediateLayerGetter

from headstart.config.schema import BackboneConfig, BackboneLibrary
from headstart.detectors.interface import Stage
from headstart.detectors.timm_features import TimmFeatures, only_side, timm_features
from headstart.errors import UserError

TF_NORM_EPS = 1e-3
"""Of the normalisation in TensorFlow's detectors."""
TENSORFLOW: dict[str, Any] = {"pad_type": "same", "bn_eps": TF_NORM_EPS}
DARKNET: dict[str, Any] = {"act_layer": partial(nn.LeakyReLU, negative_slope=0.1)}
"""timm's options for `BackboneConfig.tensorflow` and `.darknet`."""


@dataclass(frozen=True)
class Body:
    """A feature extractor: `module(images)` gives an ordered dict of maps, of the strides asked for."""

    module: nn.Module
    channels: tuple[int, ...]
    """Of each map, finest first."""
    stages: tuple[Stage, ...]
    """Prefixes relative to `module`."""
    library_names: dict[str, str]
    """Tensor of `module` -> its name in the library's classifier."""
    pyramid: nn.Module | None = None
    """Makes maps of the strides asked for where `module` gives another: new to any source, and of the neck."""
    only_side: int | None = None
    """Of the square pictures that it takes alone, in pixels; None: it takes any."""


def build_body(config: BackboneConfig, reductions: Sequence[int]) -> Body:
    """Randomly initialised. Raises `UserError` for a name or a stride that the library does not have."""
    if config.darknet and "darknet" not in config.architecture:
        raise UserError(f"backbone.darknet=true: backbone={config.name} has no leaky ReLU. Leave it out.")
    if config.library is BackboneLibrary.timm:
        return _timm_body(config, reductions)
    if config.tensorflow:
        raise UserError(f"backbone.tensorflow=true: backbone={config.name} is torchvision's, which pads as it does.")
    for prefix, build in TORCHVISION.items():
        if config.architecture.startswith(prefix):
            return build(config.architecture, reductions)
    known = ", ".join(f"{prefix}*" for prefix in TORCHVISION)
    raise UserError(
        f"backbone.architecture={config.architecture}: of torchvision, {known} are supported. "
        "For others use backbone=timm backbone.architecture=<a timm name>"
    )


def tensor_names(model: nn.Module) -> dict[int, str]:
    """Identity of each tensor -> its name in the whole model."""
    return {id(tensor): name for name, tensor in model.state_dict(keep_vars=True).items()}


def library_names(part: nn.Module, whole_names: dict[int, str]) -> dict[str, str]:
    """Tensor of `part` -> its name in the model that `part` was taken from."""
    return {
        name: whole_names[id(tensor)]
        for name, tensor in part.state_dict(keep_vars=True).items()
        if id(tensor) in whole_names
    }


def set_norm_eps(detector: nn.Module, eps: float) -> None:
    """Of the BatchNorm layers of the detector's backbone."""
    for module in detector.get_submodule("backbone").modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = eps


# ------------------------------------------------------------------------------------------- torchvision


def classifier(architecture: str, **arguments: object) -> nn.Module:
    """torchvision's classifier, randomly initialised."""
    if architecture not in torchvision.models.list_models(module=torchvision.models):
        raise UserError(f"backbone.architecture={architecture} is not a classifier of torchvision")
    return torchvision.models.get_model(architecture, weights=None, **arguments)


def _resnet(architecture: str, reductions: Sequence[int]) -> Body:
    model = classifier(architecture)
    names = tensor_names(model)
    layers = {4: "layer1", 8: "layer2", 16: "layer3", 32: "layer4"}
    module = IntermediateLayerGetter(model, {layers[r]: str(i) for i, r in enumerate(reductions)})
    # The input width of a layer's last block is the output width of the layer.
    last_blocks = {r: list(model.get_submodule(layer).children())[-1] for r, layer in layers.items()}
    widths = {r: block.get_parameter("conv1.weight").shape[1] for r, block in last_blocks.items()}
    stages = [Stage("stem", ("conv1", "bn1"))] + [Stage(f"stage{i}", (f"layer{i}",)) for i in range(1, 5)]
    return Body(module, tuple(widths[r] for r in reductions), tuple(stages), library_names(module, names))


def _sequential(
    maps: dict[int, tuple[int, int]],
    firsts: Sequence[int],
    architecture: str,
    reductions: Sequence[int],
) -> Body:
    """A classifier whose `features` are a sequence: `maps` gives stride -> (index, channels) of the map's layer,
    `firsts` the index where each stage begins, the stem's 0 first."""
    model = classifier(architecture)
    names = tensor_names(model)
    features = model.get_submodule("features")
    module = IntermediateLayerGetter(features, {str(maps[r][0]): str(i) for i, r in enumerate(reductions)})
    bounds = [*firsts, len(list(features.children()))]
    stages = [
        Stage("stem" if i == 0 else f"stage{i}", tuple(str(k) for k in range(bounds[i], bounds[i + 1])))
        for i in range(len(firsts))
    ]
    channels = tuple(maps[r][1] for r in reductions)
    return Body(module, channels, tuple(stages), library_names(module, names))


TORCHVISION: dict[str, Callable[[str, Sequence[int]], Body]] = {
    "resnet": _resnet,
    "vgg19": partial(_sequential, {4: (17, 256), 8: (26, 512), 16: (35, 512), 32: (36, 512)}, (0, 5, 10, 19, 28)),
    "mobilenet_v2": partial(_sequential, {4: (3, 24), 8: (6, 32), 16: (13, 96), 32: (18, 1280)}, (0, 2, 4, 7, 14)),
    "vgg16": partial(_sequential, {4: (15, 256), 8: (22, 512), 16: (29, 512), 32: (30, 512)}, (0, 5, 10, 17, 24)),
    "mobilenet_v3_large": partial(
        _sequential, {4: (3, 24), 8: (6, 40), 16: (12, 112), 32: (16, 960)}, (0, 2, 4, 7, 13)
    ),
    "convnext_tiny": partial(_sequential, {4: (1, 96), 8: (3, 192), 16: (5, 384), 32: (7, 768)}, (0, 1, 2, 4, 6)),
}
"""Beginning of the name -> builder."""


# -------------------------------------------------------------------------------------------------- timm


def _timm_body(config: BackboneConfig, reductions: Sequence[int]) -> Body:
    architecture = config.architecture
    options = (TENSORFLOW if config.tensorflow else {}) | (DARKNET if config.darknet else {})
    if not timm.is_model(architecture):  # also with the tag of its weights, `resnet18.a1_in1k`
        near = timm.list_models(f"*{architecture}*")[:5]
        raise UserError(f"backbone.architecture={architecture} is no timm model. Near: {', '.join(near) or 'none'}")
    try:
        network = timm_features(architecture, **options)
    except TypeError as error:
        raise UserError(
            f"backbone.architecture={architecture} takes no padding of TensorFlow's (backbone.tensorflow=true): {error}"
        ) from None
    except (RuntimeError, AttributeError) as error:
        raise UserError(f"backbone.architecture={architecture} gives no feature maps: {error}") from None
    info: Any = network.feature_info
    # `out_indices`: not every network of timm counts its maps from its first.
    maps = zip(info.reduction(), info.out_indices, info.channels(), strict=True)
    found = {reduction: (index, width) for reduction, index, width in maps}
    missing = [r for r in reductions if r not in found]
    if missing:
        raise UserError(
            f"backbone.architecture={architecture} has feature maps of strides {sorted(found)}, not {missing}"
        )
    module = TimmFeatures(timm_features(architecture, out_indices=[found[r][0] for r in reductions], **options))
    stages = _timm_stages(module, info.module_name())
    if not stages:
        raise UserError(f"backbone.architecture={architecture}: timm does not name its stages one by one")
    names = timm_names(module, architecture)
    return Body(module, tuple(found[r][1] for r in reductions), stages, names, only_side=only_side(architecture))


def _timm_stages(module: nn.Module, map_modules: Sequence[str]) -> tuple[Stage, ...]:
    """Cut behind every feature map; what comes before the first block is the stem. None where there is no cut."""
    units = _units(module, map_modules)
    groups: list[list[str]] = [[]]
    for unit in units:
        groups[-1].append(unit)
        if unit.replace("_", ".") in map_modules or unit in map_modules:
            groups.append([])
    tail = groups.pop()
    if not groups:
        return ()
    groups[-1] += tail
    first = groups[0]
    if len(first) > 1 and list(module.get_submodule(first[-1]).parameters()):
        groups[:1] = [first[:-1], first[-1:]]
    own = [name for name, _ in module.named_parameters(recurse=False)]
    groups[0] += own
    return tuple(Stage("stem" if i == 0 else f"stage{i}", tuple(group)) for i, group in enumerate(groups))


def _units(module: nn.Module, map_modules: Sequence[str]) -> list[str]:
    """The children in order; a container that holds several maps is replaced by its own children."""
    units = []
    for name, child in module.named_children():
        inside = any(m.startswith(f"{name}.") for m in map_modules)
        units += [f"{name}.{inner}" for inner, _ in child.named_children()] if inside else [name]
    return units


def _timm_classifier(architecture: str) -> nn.Module:
    """Its tensors are not to be read: they are empty where the network can be built so."""
    try:
        with torch.device("meta"):
            return timm.create_model(architecture, pretrained=False)
    except NotImplementedError:  # some work out their widths with tensors, which torch 2.11 cannot do without values
        with torch.random.fork_rng(devices=[]):
            return timm.create_model(architecture, pretrained=False)


def timm_names(module: nn.Module, architecture: str) -> dict[str, str]:
    """timm writes `stages_0` for the classifier's `stages.0` where it takes a network apart."""
    known = set(_timm_classifier(architecture).state_dict())
    candidates = {name: (name, name.replace("_", ".", 1)) for name in module.state_dict()}
    return {
        name: next(choice for choice in choices if choice in known)
        for name, choices in candidates.items()
        if any(choice in known for choice in choices)
    }
