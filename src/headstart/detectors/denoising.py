"""Queries that begin at objects moved by noise, and are to say what the objects were (Zhang et al., DINO, ICLR 2023).

In groups that do not see each other: in each, a query near every object that is to find it, and one farther off that is
to find nothing. The draws are those of transformers, in its order; the number of objects is that of the batch's rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LABEL_NOISE = 0.5
"""Half of so many are given another class."""
BOX_NOISE = 1.0
"""A side moves by at most so many halves of the box: of the queries that are to find nothing, by more than that."""


@dataclass(frozen=True)
class Noised:
    """G groups of 2 T queries of each of N images, whose objects are T rows."""

    labels: Tensor
    """(N, 2 T G) int64 rows of the embedding, behind the last class where there is no object."""
    references: Tensor
    """(N, 2 T G, 4): logits of cx, cy, width, height."""
    groups: int
    wanted: Tensor
    """(G, T) int64: the queries that are to find the objects."""

    def mask(self, others: int) -> Tensor:
        """(Q, Q) bool: which queries see which, with so many others behind these."""
        count, device = self.labels.shape[1], self.labels.device
        group = torch.arange(count, device=device) // (count // self.groups)
        group = torch.cat((group, torch.full((others,), self.groups, device=device)))
        return (group[:, None] == group) | (group == self.groups)


@torch.no_grad()
def noised(boxes: Tensor, labels: Tensor, present: Tensor, classes: int, most: int) -> Noised:
    """Of (N, T, 4) boxes cx, cy, width, height in parts of the canvas and (N, T) labels, those that are `present`;
    about `most` queries near objects, and as many that are not."""
    rows = labels.shape[1]
    groups = max(1, most // rows)
    here = present.tile(1, 2 * groups)
    known = labels.where(present, classes).tile(1, 2 * groups)
    return Noised(
        _other_labels(known, here, classes),
        _moved(boxes.where(present[..., None], 0).tile(1, 2 * groups, 1), rows),
        groups,
        torch.arange(2 * groups * rows, device=boxes.device).view(groups, 2, rows)[:, 0],
    )


def _other_labels(labels: Tensor, here: Tensor, classes: int) -> Tensor:
    changed = torch.rand_like(labels, dtype=torch.float) < LABEL_NOISE / 2
    others = torch.randint_like(changed, 0, classes, dtype=torch.int32)
    return others.to(labels.dtype).where(changed & here, labels)


def _moved(boxes: Tensor, rows: int) -> Tensor:
    sides = torch.cat((boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2), -1)
    halves = boxes[..., 2:].tile(1, 1, 2) / 2 * BOX_NOISE
    signs = torch.randint_like(boxes, 0, 2) * 2 - 1
    far = torch.arange(boxes.shape[1], device=boxes.device) // rows % 2
    sides = (sides + (torch.rand_like(boxes) + far[:, None]) * signs * halves).clamp(0, 1)
    least, most = sides[..., :2], sides[..., 2:]
    moved = torch.cat(((least + most) / 2, most - least), -1)
    return torch.log(moved.clamp(min=1e-5) / (1 - moved).clamp(min=1e-5))
