"""Losses of dense heads over (N, A) candidates at once: torchvision's, without a mask as an index, which would wait."""

from __future__ import annotations

from typing import Any

import torch
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


def giou(boxes_xyxy: Tensor, others_xyxy: Tensor, eps: float = 1e-7) -> Tensor:
    """(…): the loss of generalised IoU (Rezatofighi et al., CVPR 2019) of (…, 4) boxes, as torchvision's."""
    left, top, right, bottom = boxes_xyxy.unbind(-1)
    of_left, of_top, of_right, of_bottom = others_xyxy.unbind(-1)
    width = torch.minimum(right, of_right) - torch.maximum(left, of_left)
    height = torch.minimum(bottom, of_bottom) - torch.maximum(top, of_top)
    shared = (width * height).where((width > 0) & (height > 0), 0)
    union = (right - left) * (bottom - top) + (of_right - of_left) * (of_bottom - of_top) - shared
    around = (torch.maximum(right, of_right) - torch.minimum(left, of_left)) * (
        torch.maximum(bottom, of_bottom) - torch.minimum(top, of_top)
    )
    return 1 - shared / (union + eps) + (around - union) / (around + eps)


def iou(boxes_xyxy: Tensor, others_xyxy: Tensor, eps: float = 1e-7) -> Tensor:
    """(…): of (…, 4) boxes, each with the other in its place."""
    low, high = torch.maximum(boxes_xyxy, others_xyxy), torch.minimum(boxes_xyxy, others_xyxy)
    shared = (high[..., 2:] - low[..., :2]).clamp(min=0).prod(-1)
    one, other = ((boxes[..., 2:] - boxes[..., :2]).prod(-1) for boxes in (boxes_xyxy, others_xyxy))
    return shared / (one + other - shared + eps)
