"""Anchors by k-means over the shapes of boxes (Redmon & Farhadi, "YOLO9000", CVPR 2017, 2). Imports no torch."""

from __future__ import annotations

import numpy as np

MOST_BOXES = 20_000
"""Looked at: of more, so many evenly over all areas."""
ROUNDS = 300
"""At most; a few dozen are usual."""


def clusters(sides_wh: np.ndarray, count: int) -> np.ndarray:
    """(count, 2) whole pixels, the smallest area first: the means of clusters of (N, 2) sides, where a box is of the
    cluster with which its IoU is the highest.

    They begin with boxes evenly over all areas: nothing is drawn. A cluster that loses its boxes stays where it is.
    """
    order = np.argsort(sides_wh.prod(axis=1), kind="stable")
    sides = sides_wh[order][:: -(-len(order) // MOST_BOXES)]
    centres = sides[((np.arange(count) + 0.5) / count * len(sides)).astype(int)].astype(float)
    owners = np.full(len(sides), -1)
    for _ in range(ROUNDS):
        before, owners = owners, alike(sides, centres).argmax(axis=1)
        if (before == owners).all():
            break
        for cluster in np.unique(owners):
            centres[cluster] = sides[owners == cluster].mean(axis=0)
    whole = np.rint(centres).clip(min=1)
    return whole[np.argsort(whole.prod(axis=1), kind="stable")]


def alike(sides_wh: np.ndarray, others_wh: np.ndarray) -> np.ndarray:
    """(N, M): the IoU of (N, 2) and (M, 2) boxes, if they had the same middle."""
    shared = np.minimum(sides_wh[:, None], others_wh).prod(axis=2)
    return shared / (sides_wh.prod(axis=1)[:, None] + others_wh.prod(axis=1) - shared)


def mean_alike(sides_wh: np.ndarray, anchors_wh: np.ndarray) -> float:
    """Over the boxes, of each with the anchor most like it."""
    return float(alike(sides_wh, anchors_wh).max(axis=1).mean())
