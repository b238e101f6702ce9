"""The cosine head of TFA (Wang et al., ICML 2020): the last classification layers compare directions only.

logits = scale * cos(x, w_row) + bias. For a convolution x is the patch under the kernel. The paper has no bias; it is
kept here, because the heads of RetinaNet and FCOS start from the prior that it holds.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headstart.detectors.interface import Detector
from headstart.detectors.torchvision_base import at_least_float32
from headstart.errors import UserError

SHORTEST = 1e-5
"""Length that shorter vectors count as, as in TFA's code: a patch of zeros has the cosine 0 and a finite gradient."""


def use_cosine_head(detector: Detector, scale: float) -> None:
    """Replaces the layers with one row per class (and anchor), in place; tensors and their names stay.

    Goes before `add_adapters`, and before or after a source is loaded. Raises `UserError` where `scale`, the largest
    distance of a logit from its bias, is no number above 0.
    """
    if not 0 < scale < math.inf:
        raise UserError(
            f"strategy.cosine_scale={scale} is no number above 0: use 20 as TFA does, or null for the plain head"
        )
    layers = dict.fromkeys(axis.tensor.rpartition(".")[0] for axis in detector.class_axes() if axis.block == 1)
    for name in layers:
        if isinstance(detector.get_submodule(name), nn.Embedding):
            continue  # it has a row of each class, and gives no logits
        parent, _, child = name.rpartition(".")
        setattr(detector.get_submodule(parent), child, _cosine(detector.get_submodule(name), scale))


def cosine_scale_of(detector: Detector) -> float | None:
    """Of its cosine head; None: it has a plain one."""
    layers = (module for module in detector.modules() if isinstance(module, CosineLinear | CosineConv2d))
    return next((layer.scale for layer in layers), None)


def _cosine(layer: nn.Module, scale: float) -> nn.Module:
    if isinstance(layer, nn.Linear):
        return CosineLinear(layer, scale)
    assert isinstance(layer, nn.Conv2d), f"{type(layer).__name__} has class rows"
    return CosineConv2d(layer, scale)


class CosineLinear(nn.Linear):
    """A linear layer with the parameters of `plain`, (..., inputs) -> (..., rows)."""

    def __init__(self, plain: nn.Linear, scale: float) -> None:
        super().__init__(plain.in_features, plain.out_features, plain.bias is not None, device="meta")  # draws nothing
        self.weight, self.bias = plain.weight, plain.bias
        self.scale = scale
        self.train(plain.training)

    def forward(self, input: Tensor) -> Tensor:
        dots = F.linear(input, self.weight)
        with torch.autocast(input.device.type, enabled=False):
            inputs = _length(at_least_float32(input).square().sum(-1, keepdim=True))
            logits = self.scale * at_least_float32(dots) / (inputs * _row_lengths(self.weight))
            return logits if self.bias is None else logits + self.bias


class CosineConv2d(nn.Conv2d):
    """A convolution with the parameters of `plain`, (images, channels, H, W) -> (images, rows, H', W')."""

    def __init__(self, plain: nn.Conv2d, scale: float) -> None:
        assert plain.groups == 1
        assert plain.padding_mode == "zeros"
        super().__init__(
            plain.in_channels,
            plain.out_channels,
            (plain.kernel_size[0], plain.kernel_size[1]),
            (plain.stride[0], plain.stride[1]),
            plain.padding if isinstance(plain.padding, str) else (plain.padding[0], plain.padding[1]),
            (plain.dilation[0], plain.dilation[1]),
            bias=plain.bias is not None,
            device="meta",  # draws nothing
        )
        self.weight, self.bias = plain.weight, plain.bias
        self.scale = scale
        self.train(plain.training)

    def forward(self, input: Tensor) -> Tensor:
        dots = self._conv_forward(input, self.weight, None)
        with torch.autocast(input.device.type, enabled=False):
            lengths = self._patch_lengths(at_least_float32(input)) * _row_lengths(self.weight)[:, None, None]
            logits = self.scale * at_least_float32(dots) / lengths
            return logits if self.bias is None else logits + self.bias[:, None, None]

    def _patch_lengths(self, input: Tensor) -> Tensor:
        """(images, 1, H', W')."""
        squares = input.square().sum(-3, keepdim=True)
        ones = squares.new_ones(1, 1, *self.kernel_size)
        return _length(F.conv2d(squares, ones, None, self.stride, self.padding, self.dilation))


def _row_lengths(weight: Tensor) -> Tensor:
    """(rows,)."""
    return _length(at_least_float32(weight).square().flatten(1).sum(1))


def _length(squares: Tensor) -> Tensor:
    """Of sums of squares; the clamp before the root, whose gradient at 0 is infinite."""
    return squares.clamp(min=SHORTEST**2).sqrt()
