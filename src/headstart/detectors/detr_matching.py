"""Each object goes to one query: the assignment of least cost (Carion et al., DETR, ECCV 2020), of all layers at once.

The costs of a step are made on the device. Their assignment needs the host: the one wait of a step, for all its images
and layers together.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from headstart.detectors.box_losses import giou
from headstart.detectors.detr_boxes import as_xyxy

CLASS, DISTANCE, OVERLAP = 2.0, 5.0, 2.0
"""Weights of the costs."""
ALPHA, GAMMA = 0.25, 2.0
"""Of the class cost, which is that of a focal loss."""
NOBODY = -1


@torch.no_grad()
def matched(logits: Tensor, boxes: Tensor, labels: Tensor, wanted: Tensor, present: Tensor) -> Tensor:
    """(K, N, T) int64: the query of each object in each of K layers, `NOBODY` where there is no object, or no query.

    (K, N, Q, classes) logits and (K, N, Q, 4) boxes, (N, T) labels, (N, T, 4) wanted boxes, of those that are present.
    """
    costs = _costs(logits, boxes, labels, wanted)
    most = torch.finfo(costs.dtype).max
    costs = torch.nan_to_num(costs, nan=most, posinf=most, neginf=most)
    costs = costs.masked_fill(~present[:, None], torch.inf)
    return torch.from_numpy(assigned(costs.cpu().numpy())).to(logits.device, non_blocking=True)


def assigned(costs: np.ndarray) -> np.ndarray:
    """(K, N, T) rows of (K, N, Q, T) costs; a column of infinite ones is no object."""
    from scipy.optimize import linear_sum_assignment  # of headstart[detr]; other detectors do without

    found = np.full((*costs.shape[:2], costs.shape[3]), NOBODY)
    for place in np.ndindex(costs.shape[:2]):
        columns = np.flatnonzero(np.isfinite(costs[place][0]))
        rows, of_columns = linear_sum_assignment(costs[place][:, columns])
        found[place][columns[of_columns]] = rows
    return found


def _costs(logits: Tensor, boxes: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
    """(K, N, Q, T)"""
    layers, images, queries = logits.shape[:3]
    columns = labels[None, :, None].expand(layers, images, queries, -1)
    found = logits.sigmoid().gather(-1, columns)
    against = (1 - ALPHA) * found**GAMMA * -(1 - found + 1e-8).log()
    classes = ALPHA * (1 - found) ** GAMMA * -(found + 1e-8).log() - against
    distances = torch.cdist(boxes, wanted.expand(layers, -1, -1, -1), p=1)
    apart = giou(as_xyxy(boxes)[..., :, None, :], as_xyxy(wanted)[:, None], eps=0)
    return DISTANCE * distances + CLASS * classes + OVERLAP * apart
