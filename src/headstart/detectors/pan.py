"""Path aggregation (Liu et al., CVPR 2018): a way up behind the pyramid's way down."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock


class PathAggregation(FeaturePyramidNetwork):
    """N2 = P2, and N(i+1) = 3x3(P(i+1) + 3x3, stride 2 (N(i))); P6 and P7 are made of the N.

    It begins as the pyramid that it extends: the convolution that comes down a stride is zero, the one behind the sum
    passes its input on, so that a source's heads see at first what they know. Of the paper's, the ReLU behind each
    convolution is left out, as in its authors' successors of it (MMDetection), and so are the adaptive pooling of
    regions over all levels and the fully connected fusion of masks.
    """

    added = ("down", "fused")

    def __init__(self, channels: list[int], width: int, extra: ExtraFPNBlock, norm: Any = None) -> None:
        super().__init__(channels, width, extra, norm)
        steps = range(len(channels) - 1)
        with torch.random.fork_rng(devices=[]):  # what is drawn after it is as without
            self.down = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in steps)
            self.fused = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in steps)
        for down, fused in zip(self.down, self.fused, strict=True):
            nn.init.zeros_(down.get_parameter("weight"))
            nn.init.dirac_(fused.get_parameter("weight"))
            for layer in (down, fused):
                nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, x: dict[str, Tensor]) -> OrderedDict[str, Tensor]:
        names, maps = list(x), list(x.values())
        assert self.extra_blocks is not None
        found, names = self.extra_blocks(self._upwards(self._downwards(maps)), maps, names)
        return OrderedDict(zip(names, found, strict=True))

    def _downwards(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """P2 … of C2 …: torchvision's."""
        inner = [layer(level) for layer, level in zip(self.inner_blocks, maps, strict=True)]
        for i in reversed(range(len(inner) - 1)):
            inner[i] = inner[i] + F.interpolate(inner[i + 1], size=inner[i].shape[-2:], mode="nearest")
        return [layer(level) for layer, level in zip(self.layer_blocks, inner, strict=True)]

    def _upwards(self, maps: Sequence[Tensor]) -> list[Tensor]:
        found = [maps[0]]
        for down, fused, level in zip(self.down, self.fused, maps[1:], strict=True):
            found.append(fused(level + down(found[-1])))
        return found
