"""Losses of dense heads over (N, A) candidates at once: torchvision's, without a mask as an index, which would wait."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

ALPHA = 0.25
"""Weight of an object's own logit beside 1 - ALPHA of any other; the exponent of surprise is 2."""


def focal(logits: Tensor, labels: Tensor, foreground: Tensor) -> Tensor:
    """(N, A): the focal loss (Lin et al., ICCV 2017) of (N, A, classes) logits, summed over the classes.

    `labels` (N, A) count where `foreground` (N, A) does; elsewhere no class is right.
    """
    found: Tensor = _Focal.apply(logits, labels[..., None], foreground[..., None])
    return found


class _Focal(torch.autograd.Function):
    """With its gradient computed on the way: one tensor is kept instead of ten."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, foreground: Tensor) -> Tensor:
        own = logits.gather(2, labels)
        # Of logits that should be low p² log(1 + eˣ); an object's own one is that of -x.
        wrong = logits.scatter(2, labels, own.where(~foreground, -own))
        probability, surprise = wrong.sigmoid(), softplus(wrong)
        slope = (1 - probability).mul_(surprise).mul_(2).add_(probability)
        squared = probability.square_()
        slope.mul_(squared).mul_(1 - ALPHA)
        losses = surprise.mul_(squared)
        of_object = slope.gather(2, labels)
        slope.scatter_(2, labels, of_object.where(~foreground, of_object * (ALPHA / (ALPHA - 1))))
        ctx.save_for_backward(slope)
        less = losses.gather(2, labels).where(foreground, 0) * (1 - 2 * ALPHA)
        return (1 - ALPHA) * losses.sum(2) - less[..., 0]

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor, None, None]:
        return ctx.saved_tensors[0] * gradient[..., None], None, None


def softplus(numbers: Tensor) -> Tensor:
    """log(1 + eˣ) to the last digits: log(1 + z) is 2 artanh(z / (2 + z)); the library's takes five times as long on a
    CPU."""
    small = numbers.abs().neg_().exp_()
    return small.div_(small + 2).atanh_().mul_(2).add_(numbers.clamp(min=0))


def quality_focal(logits: Tensor, labels: Tensor, foreground: Tensor, quality: Tensor) -> Tensor:
    """(N, A): the quality focal loss (Li et al., "Generalized focal loss", NeurIPS 2020) with β = 2, summed over the
    classes: an object's own logit is to say `quality` (N, A) in 0..1, the IoU of its box; the rest as in `focal`."""
    said = quality.where(foreground, 0)[..., None]
    wanted = torch.zeros_like(logits).scatter(2, labels[..., None], said)
    surprise = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return ((wanted - logits.sigmoid()).square() * surprise).sum(2)
