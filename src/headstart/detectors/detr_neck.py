"""The hybrid encoder (Zhao et al., CVPR 2024): attention on the coarsest map, then up and down a pyramid.

Layers of transformers, gone through here: its own way looks at every value of a step, for which a GPU waits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from headstart.detectors.constants import Constants

TEMPERATURE = 10_000.0
PARTS = ("aifi", "lateral_convs", "fpn_blocks", "downsample_convs", "pan_blocks")


class HybridEncoder(nn.Module):
    """Maps of a body, (N, C, h, w) each and finest first, as many of one width."""

    aifi: Any
    lateral_convs: nn.ModuleList
    fpn_blocks: nn.ModuleList
    downsample_convs: nn.ModuleList
    pan_blocks: nn.ModuleList

    def __init__(self, encoder: nn.Module, channels: Sequence[int], width: int) -> None:
        """`encoder`: transformers'."""
        super().__init__()
        self.width = width
        self.input_proj = nn.ModuleList(_projection(inputs, width) for inputs in channels)
        for name in PARTS:
            self.add_module(name, encoder.get_submodule(name))
        self._constants = Constants()

    def forward(self, maps: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
        levels = [projection(level) for projection, level in zip(self.input_proj, maps.values(), strict=True)]
        levels[-1] = self._attended(levels[-1])
        found = self._down(self._up(levels))
        return OrderedDict((str(i), level) for i, level in enumerate(found))

    def _attended(self, level: Tensor) -> Tensor:
        height, width = level.shape[-2:]
        make = partial(positions, height, width, self.width, level.dtype, level.device)
        where = self._constants.get((height, width, level.dtype, level.device), make)
        tokens = level.flatten(2).transpose(1, 2)
        for layer in self.aifi[0].layers:
            tokens = _attention(layer, tokens, where)
        return tokens.transpose(1, 2).unflatten(2, (height, width)).contiguous()

    def _up(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """From the coarsest to the finest; given finest first."""
        found = [levels[-1]]
        for lateral, block, level in zip(self.lateral_convs, self.fpn_blocks, reversed(levels[:-1]), strict=True):
            found[-1] = lateral(found[-1])
            above = functional.interpolate(found[-1], scale_factor=2.0, mode="nearest")
            found.append(block(torch.cat((above, level), 1)))
        return found[::-1]

    def _down(self, levels: Sequence[Tensor]) -> list[Tensor]:
        found = [levels[0]]
        for halve, block, level in zip(self.downsample_convs, self.pan_blocks, levels[1:], strict=True):
            found.append(block(torch.cat((halve(found[-1]), level), 1)))
        return found


def _projection(inputs: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width))


def _attention(layer: Any, tokens: Tensor, where: Tensor) -> Tensor:
    found, _ = layer.self_attn(hidden_states=tokens, attention_mask=None, position_embeddings=where)
    tokens = layer.self_attn_layer_norm(tokens + found)
    return layer.final_layer_norm(tokens + layer.mlp(tokens))


def positions(height: int, width: int, channels: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(1, height * width, channels): sines and cosines of a cell's row, then of its column (Vaswani et al., 2017)."""
    quarter = channels // 4
    steps = torch.arange(quarter, dtype=torch.float64, device=device) / quarter
    frequencies = TEMPERATURE**-steps
    down, right = (torch.arange(side, dtype=torch.float64, device=device) for side in (height, width))
    angles = [along.reshape(-1, 1) * frequencies for along in torch.meshgrid(down, right, indexing="ij")]
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], 1).to(dtype)[None]
