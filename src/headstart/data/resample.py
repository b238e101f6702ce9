"""Windows of a batch's pictures, each scaled to a place of its own: separable, bilinear, antialiased, on any device.

Along an axis a shown pixel is a weighted sum of a few source pixels, with the weights of torch's and Pillow's bilinear
resize: a triangle around its middle, as wide as a shown pixel, and no narrower than a source pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Axis:
    """What the S' pixels of a canvas are made of, along one axis, in N pictures."""

    sources: Tensor
    """(N, S', taps) int64: places in the source picture …"""
    weights: Tensor
    """(N, S', taps) float32: … and their weights, which sum to 1, or are 0 where nothing of the source is shown."""
    shown: Tensor
    """(N, S') float32: 1 where something of it is."""

    def mixed(self, pixels: Tensor) -> Tensor:
        """(N, C, S', L) of float (N, C, S, L)."""
        number, channels, sides, length = pixels.shape
        starts = torch.arange(number * channels, device=pixels.device).view(number, channels, 1, 1) * sides
        lines = (self.sources[:, None] + starts).flatten(0, 2)
        weights = self.weights[:, None].expand(-1, channels, -1, -1).flatten(0, 2)
        # A weighted sum of lines for each line of the result, in one pass: a bag of embeddings.
        mixed = functional.embedding_bag(lines, pixels.reshape(-1, length), mode="sum", per_sample_weights=weights)
        return mixed.view(number, channels, -1, length)


def axis(window: Tensor, place: Tensor, at: Tensor, inside: Tensor, side: int, taps: int) -> Axis:
    """Of (N, 2) float32 windows, first and last edge, of pictures of S = `side` pixels, and of the places they fill.

    `at` (N, S'): where the middles of the shown pixels lie among those places; `inside` (N, S'): whether in a picture.
    """
    first, last = window[:, :1], window[:, 1:]
    step = (last - first) / (place[:, 1:] - place[:, :1])
    middle = first + (at - place[:, :1]) * step
    reach = step.clamp(min=1)
    start = torch.maximum((middle - reach + 0.5).floor(), first.floor())
    sources = start[..., None] + torch.arange(taps, device=at.device)
    weights = 1 - ((sources + 0.5 - middle[..., None]) / reach[..., None]).abs()
    weights = weights.clamp(min=0) * (sources < last.ceil()[..., None])
    shown = (inside & (at >= place[:, :1]) & (at < place[:, 1:])).float()
    weights = weights * (shown[..., None] / weights.sum(-1, keepdim=True).clamp(min=1e-6))
    return Axis(sources.clamp(0, side - 1).long(), weights, shown)
