"""What the metric and its engines share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ImageResult:
    """Ground truth and detections of one image, in its original pixels; boxes as (x, y, width, height)."""

    truth_xywh: np.ndarray
    truth_labels: np.ndarray
    ignore: np.ndarray
    boxes_xywh: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
