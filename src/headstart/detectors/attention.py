"""Attention to maps, as tensors that begin as identity: x (1 + g (a - 1)), where the gate g begins at 0 (as in ReZero,
Bachlechner et al., UAI 2021) and the weights a lie in 0..1.

A network is at first what it was without; a trained source loses nothing, and the first step moves the gates alone.
Means are over the whole map, the padding of a smaller picture included, as normalisation over a map has it, too.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from headstart.config.schema import Attention
from headstart.detectors.bifpn import groups_of

LEAST = 8
"""Channels between the two layers of a bottleneck."""


class Gated(nn.Module):
    """`weights` gives (N, C or 1, h or 1, w or 1) in 0..1 of a map (N, C, h, w)."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(1))

    def weights(self, level: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, level: Tensor) -> Tensor:
        return level * (1 + self.gate * (self.weights(level) - 1))


class SqueezeExcitation(Gated):
    """Of each channel, by all channels' means (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = _bottleneck(channels)

    def weights(self, level: Tensor) -> Tensor:
        return self.layers(level.mean((2, 3), keepdim=True)).sigmoid()


class ChannelThenPlace(Gated):
    """CBAM: of each channel, by means and maxima; then of each place, by those over the channels (Woo et al., ECCV
    2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = _bottleneck(channels)
        self.places = nn.Conv2d(2, 1, 7, padding=3)

    def weights(self, level: Tensor) -> Tensor:
        of_mean, of_most = self.layers(level.mean((2, 3), keepdim=True)), self.layers(level.amax((2, 3), keepdim=True))
        channels = (of_mean + of_most).sigmoid()
        seen = level * channels
        over_channels = torch.cat((seen.mean(1, keepdim=True), seen.amax(1, keepdim=True)), 1)
        return channels * self.places(over_channels).sigmoid()


class Neighbours(Gated):
    """ECA: of each channel, by the means of its neighbours (Wang et al., CVPR 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = int(abs(math.log2(channels) / 2 + 0.5))
        width += 1 - width % 2
        self.layer = nn.Conv1d(1, 1, width, padding=width // 2, bias=False)

    def weights(self, level: Tensor) -> Tensor:
        means = level.mean((2, 3))[:, None]
        return self.layer(means)[:, 0, :, None, None].sigmoid()


class Coordinates(Gated):
    """Of each row and of each column of each channel, by the means along them (Hou et al., CVPR 2021); with group
    normalisation where the paper has that of a batch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = max(LEAST, channels // 32)
        self.shared = nn.Sequential(
            nn.Conv2d(channels, width, 1), nn.GroupNorm(groups_of(width), width), nn.Hardswish()
        )
        self.rows = nn.Conv2d(width, channels, 1)
        self.columns = nn.Conv2d(width, channels, 1)

    def weights(self, level: Tensor) -> Tensor:
        rows, columns = level.mean(3, keepdim=True), level.mean(2, keepdim=True).transpose(2, 3)
        both = self.shared(torch.cat((rows, columns), 2))
        of_rows, of_columns = both.split([level.shape[2], level.shape[3]], 2)
        return self.rows(of_rows).sigmoid() * self.columns(of_columns.transpose(2, 3)).sigmoid()


def _bottleneck(channels: int) -> nn.Sequential:
    width = max(LEAST, channels // 16)
    return nn.Sequential(nn.Conv2d(channels, width, 1), nn.ReLU(), nn.Conv2d(width, channels, 1))


KINDS: dict[Attention, Callable[[int], Gated]] = {
    Attention.se: SqueezeExcitation,
    Attention.cbam: ChannelThenPlace,
    Attention.eca: Neighbours,
    Attention.coordinate: Coordinates,
}


class MapAttention(nn.Module):
    """Of its own to each of a body's maps."""

    def __init__(self, kind: Callable[[int], Gated], channels: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(kind(width) for width in channels)

    def forward(self, maps: dict[str, Tensor]) -> OrderedDict[str, Tensor]:
        return OrderedDict((name, level(maps[name])) for name, level in zip(maps, self.levels, strict=True))


def attending(kind: Attention, channels: Sequence[int]) -> nn.Module:
    """Takes and gives a body's maps, of so many channels. What is drawn for it moves no other draw: with the same seed
    the rest of a network is as it is without."""
    if kind is Attention.none:
        return nn.Identity()
    with torch.random.fork_rng(devices=[]):
        return MapAttention(KINDS[kind], channels)
