"""BiFPN (Tan et al., "EfficientDet", CVPR 2020): maps fused down and up, several times, by learnt weights."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, LastLevelP6P7

LAYERS = 3
"""EfficientDet-D0's."""
EPSILON = 1e-4
MOST_GROUPS = 16
"""Of normalisation: 16 channels each at the papers' width of 256, and never one alone."""


class BiFpn(FeaturePyramidNetwork):
    """`LAYERS` layers over all maps, P6 and P7 (or Faster R-CNN's pooled map) among them.

    The 1x1 convolutions in front are the pyramid's, under its names, and P6 and P7 are torchvision's 3x3 convolutions:
    a source's are kept. Left out of the paper: pooling to make P6 and P7, a second 1x1 convolution for a map that is
    read twice in the first layer, and batch normalisation, which a batch of a few pictures does not bear (P7 of a small
    picture is one cell): it is group normalisation (Wu and He, ECCV 2018). Compound scaling is left to the user.
    """

    added = ("layers",)
    replaced = ("layer_blocks",)

    def __init__(self, channels: list[int], width: int, extra: ExtraFPNBlock, norm: Any = None) -> None:
        super().__init__(channels, width, extra, norm)
        del self.layer_blocks
        levels = len(channels) + (2 if isinstance(extra, LastLevelP6P7) else 1)
        self.layers = nn.ModuleList(BiFpnLayer(width, levels) for _ in range(LAYERS))

    def forward(self, x: dict[str, Tensor]) -> OrderedDict[str, Tensor]:
        names, maps = list(x), list(x.values())
        inner = [layer(level) for layer, level in zip(self.inner_blocks, maps, strict=True)]
        assert self.extra_blocks is not None
        found, names = self.extra_blocks(inner, maps, names)
        for layer in self.layers:
            found = layer(found)
        return OrderedDict(zip(names, found, strict=True))


class BiFpnLayer(nn.Module):
    """Down, then up; what lies between the ends is fused of three maps on the way up."""

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(Fused(width, 2) for _ in range(levels - 1))
        self.up = nn.ModuleList(Fused(width, 3 if i < levels - 2 else 2) for i in range(levels - 1))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        down = list(maps)
        for i in reversed(range(len(maps) - 1)):
            above = F.interpolate(down[i + 1], size=maps[i].shape[-2:], mode="nearest")
            down[i] = self.down[i]([maps[i], above])
        found = [down[0]]
        for i, fused in enumerate(self.up, start=1):
            between = [down[i]] if i < len(maps) - 1 else []
            found.append(fused([maps[i], *between, F.max_pool2d(found[-1], 3, stride=2, padding=1)]))
        return found


class Fused(nn.Module):
    """The fast normalised fusion of so many maps of one size, swish, and a depthwise separable 3x3 convolution."""

    def __init__(self, width: int, inputs: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(inputs))
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.pointwise = nn.Conv2d(width, width, 1, bias=False)
        self.norm = nn.GroupNorm(groups_of(width), width)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        weights = self.weights.relu()
        shares = (weights / (weights.sum() + EPSILON)).unbind()
        fused = torch.stack([share * level for share, level in zip(shares, maps, strict=True)]).sum(0)
        return self.norm(self.pointwise(self.depthwise(F.silu(fused))))


def groups_of(width: int) -> int:
    """As many as divide it, up to `MOST_GROUPS`, of two channels or more."""
    return max(1, math.gcd(width, 2 * MOST_GROUPS) // 2)
