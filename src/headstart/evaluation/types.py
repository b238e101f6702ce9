"""What the metric and its engines share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ImageResult:
    """Ground truth and detections of one image, in its original pixels; boxes as (x, y, width, height)."""

    truth_xywh: np.ndarray
    truth_labels: np.ndarray
    crowd: np.ndarray
    difficult: np.ndarray
    area: np.ndarray
    """Square pixels of the objects; a detection's area is its box's."""
    boxes_xywh: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    @property
    def ignore(self) -> np.ndarray:
        """(N,) bool: which objects need not be found."""
        return self.crowd | self.difficult
