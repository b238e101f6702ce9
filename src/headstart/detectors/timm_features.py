"""timm's networks as what gives feature maps."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

import timm
import torch
from torch import Tensor, nn

OTHER_HW = (160, 96)
"""A size that no network is made for."""


class TimmFeatures(nn.Module):
    """timm's list of maps as an ordered dict, in the (N, C, H, W) layout whatever the network's own."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        for name, child in network.named_children():
            self.add_module(name, child)
        for name, parameter in network.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        # Not a submodule: the tensors have their names directly below this module, once.
        self._network = [network]
        self._channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"  # Swin and its kin

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        maps = self._network[0](images)
        return OrderedDict(
            (str(i), m.permute(0, 3, 1, 2).contiguous() if self._channels_last else m) for i, m in enumerate(maps)
        )

    def train(self, mode: bool = True) -> TimmFeatures:
        self._network[0].training = mode
        super().train(mode)
        return self


def timm_features(architecture: str, **arguments: Any) -> nn.Module:
    """For images of any size, where the network has to be told so: Swin and its kin."""
    create = partial(timm.create_model, architecture, pretrained=False, features_only=True, **arguments)
    try:
        return create(strict_img_size=False)
    except TypeError:  # others do not know the argument
        return create()


def only_side(architecture: str) -> int | None:
    """Of a network that timm says has a fixed size, and that does not take another."""
    config: Any = timm.get_pretrained_cfg(architecture)
    if config is None or not config.fixed_input_size:
        return None
    try:
        with torch.device("meta"):
            timm_features(architecture)(torch.empty(1, 3, *OTHER_HW))
    except (RuntimeError, AssertionError, ValueError):
        return config.input_size[-1]
    return None
