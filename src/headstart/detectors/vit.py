"""Vision transformers (Dosovitskiy et al., ICLR 2021; DINOv2, DINOv3), which have one map, as bodies of a pyramid."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import timm
import torch.nn.functional as F
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from headstart.config.schema import BackboneConfig, BackboneLibrary
from headstart.detectors.backbones import Body, build_body, timm_names
from headstart.detectors.interface import Stage
from headstart.detectors.timm_features import TimmFeatures
from headstart.errors import UserError

STRIDE = 16
"""Pixels of the canvas between two cells of the map."""
PATCHES = (14, 16)
STAGES = 4
"""That the blocks are dealt out to."""
MODULES = ("timm.models.vision_transformer", "timm.models.eva")
"""Whose networks they are."""


def pyramid_body(config: BackboneConfig, reductions: Sequence[int]) -> Body:
    """As `build_body`; of a transformer with one map, with a simple pyramid that makes maps of the strides."""
    return _vit_body(config, reductions) if _is_vit(config) else build_body(config, reductions)


def _is_vit(config: BackboneConfig) -> bool:
    name = config.architecture
    named = config.library is BackboneLibrary.timm and timm.is_model(name)
    return named and timm.models.model_entrypoint(name).__module__ in MODULES


class VitFeatures(TimmFeatures):
    """The last block's map, normalised, of stride 16.

    A network with patches of 14 pixels sees the canvas at 14 / 16 of its size: then a patch is 16 pixels of it, and
    canvases, strides and anchors are those of any other body. Where there are embeddings of places they are resampled
    to the canvas. Attention is over the whole map in every block; ViTDet's windows are left out.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self._patch = patch_of(network)

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        if self._patch != STRIDE:
            size = [side * self._patch // STRIDE for side in images.shape[-2:]]
            images = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
        network: Any = self._network[0]
        (level,) = network.forward_intermediates(images, indices=1, norm=True, intermediates_only=True)
        return OrderedDict([("0", level)])


class SimplePyramid(nn.Module):
    """ViTDet's (Li et al., ECCV 2022): each map of the last one alone, by deconvolutions or pooling. The convolutions
    behind them are the neck's."""

    def __init__(self, channels: int, reductions: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(_level(channels, reduction) for reduction in reductions)

    def forward(self, maps: dict[str, Tensor]) -> OrderedDict[str, Tensor]:
        (level,) = maps.values()
        return OrderedDict((str(i), make(level)) for i, make in enumerate(self.levels))


WIDTHS = {4: 4, 8: 2, 16: 1, 32: 1}
"""Stride -> what the channels are divided by."""


def _level(channels: int, reduction: int) -> nn.Module:
    half = channels // 2
    if reduction == 4:
        first, second = nn.ConvTranspose2d(channels, half, 2, 2), nn.ConvTranspose2d(half, channels // 4, 2, 2)
        return nn.Sequential(first, LayerNorm2d(half), nn.GELU(), second)
    if reduction == 8:
        return nn.ConvTranspose2d(channels, half, 2, 2)
    return nn.Identity() if reduction == STRIDE else nn.MaxPool2d(2, 2)


def patch_of(network: nn.Module) -> int:
    embedding: Any = network.get_submodule("patch_embed")
    return embedding.patch_size[0]


def _vit_body(config: BackboneConfig, reductions: Sequence[int]) -> Body:
    name = config.architecture
    try:
        network: Any = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True)
    except (TypeError, RuntimeError, AssertionError) as error:
        raise UserError(f"backbone.architecture={name} takes no pictures of other sizes: {error}") from None
    if (patch := patch_of(network)) not in PATCHES:
        raise UserError(f"backbone.architecture={name} has patches of {patch} pixels: 14 and 16 are supported")
    module, width = VitFeatures(network), network.num_features
    body = Body(module, (width,), _stages(network), timm_names(module, name))
    channels = tuple(width // WIDTHS[reduction] for reduction in reductions)
    return replace(body, channels=channels, pyramid=SimplePyramid(width, reductions))


def _stages(network: Any) -> tuple[Stage, ...]:
    """What is in front of the blocks is the stem, with the tensors of no layer; what is behind them is of the last."""
    children = [name for name, _ in network.named_children()]
    first, count = children.index("blocks"), len(network.blocks)
    own = [name for name, _ in network.named_parameters(recurse=False)]
    bounds = [count * i // STAGES for i in range(STAGES + 1)]
    groups = [[f"blocks.{k}" for k in range(*pair)] for pair in pairwise(bounds)]
    groups[-1] += children[first + 1 :]
    stages = [Stage(f"stage{i}", tuple(group)) for i, group in enumerate(groups, start=1)]
    return (Stage("stem", (*own, *children[:first])), *stages)
