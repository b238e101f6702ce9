"""What of a dense head's answer goes into suppression: the best rows of each image, as many for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.data.batch import Padded


@dataclass(frozen=True)
class Best(Padded):
    """(N, M) each; present: of a score above the threshold."""

    scores: Tensor
    anchors: Tensor
    """Which anchors they are of, int64."""
    labels: Tensor


def best_of_levels(scores: Tensor, counts: Sequence[int], most: int, threshold: float) -> Best:
    """Of each level the best of all pairs of anchor and class, the best first.

    `scores` (N, A, classes); `counts`: anchors of each level.
    """
    classes, first, found = scores.shape[-1], 0, []
    for level in scores.split(list(counts), dim=1):
        pairs = above(level.flatten(1), threshold)
        best = pairs.topk(torch.sym_min(most, pairs.shape[1]))
        anchors = best.indices // classes + first
        found.append((best.values > threshold, best.values, anchors, best.indices % classes))
        first += level.shape[1]
    return Best(*(torch.cat(parts, 1) for parts in zip(*found, strict=True)))


def best_of_classes(scores: Tensor, most: int, threshold: float) -> Best:
    """Of each class the best anchors, the best first; class after class. `scores` (N, A, classes)."""
    best = above(scores, threshold).transpose(1, 2).topk(torch.sym_min(most, scores.shape[1]))
    labels = torch.arange(scores.shape[-1], device=scores.device)[:, None].expand_as(best.indices)
    return Best(best.values > threshold, best.values, best.indices, labels).map(lambda tensor: tensor.flatten(1))


def above(scores: Tensor, threshold: float) -> Tensor:
    """The others and what is no number become 0: of so many equals the best are found sooner."""
    return torch.where(scores > threshold, scores, 0)
