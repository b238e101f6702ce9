"""SSD's minimum-IoU crop (Liu et al., ECCV 2016), by the rule of torchvision's `v2.RandomIoUCrop`, for a batch at once.

Round after round, each picture draws how much of an object its crop must cover, or to stay as it is; then the first of
40 random windows is taken that has an object's centre and covers one of those objects so far. Where none does, another
round begins.
"""

from __future__ import annotations

from itertools import count

import numpy as np

from headstart.data.draws import uniforms

_LEAST_OVERLAPS = np.array([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
"""1: the picture stays as it is."""
_TRIALS = 40
_SIDES = 0.3, 1.0
"""Of a window, by the picture's."""
_ASPECTS = 0.5, 2.0
"""Width by height of a window."""
_FIRST, _PER_ROUND = 16, 1 + 4 * _TRIALS
"""Numbers of a key: those before are for other changes."""


def crop_windows(
    keys: np.ndarray, chosen: np.ndarray, sizes_wh: np.ndarray, corners: np.ndarray, present: np.ndarray
) -> np.ndarray:
    """(N, 2, 2) int64: upper left and lower right corner of what is shown, in whole pixels.

    The whole picture where it is not `chosen` (N,) bool, has no object, or drew to stay. `corners` (N, T, 2, 2) are
    those of the objects' boxes, `present` (N, T) bool.
    """
    windows = np.stack([np.zeros_like(sizes_wh), sizes_wh], axis=1)
    seen = present.any(0)
    corners, present = corners[:, seen], present[:, seen]
    pending = np.flatnonzero(chosen & present.any(1))
    for nth in count():
        if not len(pending):
            break
        drawn = uniforms(keys[pending], _PER_ROUND, _FIRST + nth * _PER_ROUND)
        least = _LEAST_OVERLAPS[(drawn[:, 0] * len(_LEAST_OVERLAPS)).astype(int)]
        tried, shaped = _trials(drawn[:, 1:].reshape(-1, _TRIALS, 4), sizes_wh[pending, None])
        good = shaped & (_overlaps(tried, corners[pending], present[pending]) >= least[:, None])
        stays = least >= 1
        taken = good.any(1) & ~stays
        windows[pending[taken]] = tried[taken, good.argmax(1)[taken]]
        pending = pending[~(taken | stays)]
    return windows


def _trials(drawn: np.ndarray, sizes_wh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 40, 2, 2) windows, and (n, 40) bool: which have an allowed shape."""
    smallest, largest = _SIDES
    wh = (sizes_wh * (smallest + (largest - smallest) * drawn[..., :2])).astype(np.int64)
    low = ((sizes_wh - wh) * drawn[..., 2:]).astype(np.int64)
    width, height = wh[..., 0], wh[..., 1]
    flattest, steepest = _ASPECTS[1], _ASPECTS[0]
    shaped = (width >= steepest * height) & (width <= flattest * height) & (width > 0) & (height > 0)
    return np.stack([low, low + wh], axis=2), shaped


def _overlaps(windows: np.ndarray, corners: np.ndarray, present: np.ndarray) -> np.ndarray:
    """(n, 40): the largest IoU of a window with an object whose centre it has; -1 where it has none's."""
    low, high = windows[:, :, None, 0], windows[:, :, None, 1]
    centres = corners.mean(2)[:, None]
    inside = ((low < centres) & (centres < high)).all(-1) & present[:, None]
    shared = (np.minimum(high, corners[:, None, :, 1]) - np.maximum(low, corners[:, None, :, 0])).clip(0).prod(-1)
    areas = (corners[:, :, 1] - corners[:, :, 0]).prod(-1)[:, None]
    union = areas + (high - low).prod(-1) - shared
    return np.where(inside, shared / np.maximum(union, 1e-9), -1).max(-1, initial=-1)
