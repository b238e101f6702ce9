"""The balanced choice of candidates to learn from, of N images at once."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def balanced_sample(positive: Tensor, negative: Tensor, size: int, positive_fraction: float) -> tuple[Tensor, Tensor]:
    """Rows of (N, A) candidates, (N, up to `size`) int64, and which of them were drawn, those first.

    The distribution of torchvision's `BalancedPositiveNegativeSampler`: up to `positive_fraction` of `size` positives
    of each image, and negatives to fill up with, all without replacement. A random number for each candidate, and the
    highest win: nothing of it depends on how many there are. Candidates that follow change nothing for the first.
    """
    keys = torch.rand(positive.shape[::-1], device=positive.device).t()
    best = keys.where(positive, -1).topk(min(int(size * positive_fraction), keys.shape[1]))
    order = keys.where(negative, -1)
    ahead = torch.where(best.values < 0, order.gather(1, best.indices), 1 + best.values)  # of all negatives
    drawn = order.scatter(1, best.indices, ahead).topk(min(size, keys.shape[1]))
    return drawn.indices, drawn.values >= 0
