"""Brightness, contrast, saturation and hue of a batch, by the formulas of torchvision's `adjust_…`."""

from __future__ import annotations

import torch
from torch import Tensor

_CONTRAST, _SATURATION = 1, 2


def recolour(
    pixels: Tensor, sizes_hw: Tensor, factors: Tensor, order: Tensor, hue: Tensor | None, hue_place: Tensor | None
) -> Tensor:
    """(N, 3, H, W) float32 in 0..255, changed in place, of pictures with zeros to their right and below; what is there
    afterwards means nothing. The others are fields of `augment.Changes`.

    Each of the three blends is pixel * factor + other * (1 - factor): other is black, the picture's mean grey, or the
    pixel's grey. So one step does any of them, to each picture its own; and none, at factor 1.
    """
    factor = factors.gather(1, order)
    grey, mean = ((1 - factor) * (order == kind) for kind in (_SATURATION, _CONTRAST))
    areas = sizes_hw.prod(1)
    if hue is None or hue_place is None:
        return _blend(pixels, areas, factor, grey, mean)
    before = torch.arange(order.shape[1], device=order.device) < hue_place[:, None]
    pixels = _blend(pixels, areas, *_only(before, factor, grey, mean))
    return _blend(_turn(pixels, hue), areas, *_only(~before, factor, grey, mean))


def _only(these: Tensor, factor: Tensor, grey: Tensor, mean: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.where(these, factor, 1), grey * these, mean * these


def _blend(pixels: Tensor, areas: Tensor, factor: Tensor, grey: Tensor, mean: Tensor) -> Tensor:
    """One after another; (N, steps) each: what is kept of a pixel, and what is added of its grey and of the mean."""
    for keep, own, whole in zip(factor.unbind(1), grey.unbind(1), mean.unbind(1), strict=True):
        red, green, blue = pixels.unbind(1)
        # Whole numbers: their sum is exact, however it is made. The padding is black until this is the contrast.
        greys = (red * 0.2989).add_(green * 0.587).add_(blue * 0.114).round_()
        average = (greys.sum(2).sum(1, dtype=torch.float64) / areas).float()
        greys.mul_(own[:, None, None]).add_((average * whole)[:, None, None])
        pixels.mul_(keep[:, None, None, None]).add_(greys[:, None]).clamp_(0, 255)
    return pixels


def _turn(pixels: Tensor, turns: Tensor) -> Tensor:
    """The hue moves on; value and saturation, so the largest and the smallest of a pixel's channels, stay."""
    red, green, blue = pixels.unbind(1)
    high = torch.maximum(red, torch.maximum(green, blue))
    low = torch.minimum(red, torch.minimum(green, blue))
    chroma = high - low
    sixths = torch.where(high == red, green - blue, torch.where(high == green, blue - red, red - green))
    sixths.div_(chroma.clamp(min=1e-6))
    sixths.add_(torch.where(high == red, 0.0, torch.where(high == green, 2.0, 4.0)))
    turn = sixths.div_(6).add_(turns[:, None, None])
    sixths = (turn - turn.floor()).mul_(6)
    shares = (sixths - 3).abs_() - 1, 2 - (sixths - 2).abs_(), 2 - (sixths - 4).abs_()
    return torch.stack([share.clamp_(0, 1).mul_(chroma).add_(low) for share in shares], dim=1)
