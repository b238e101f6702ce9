"""Difficult objects, by VOC's rule, for engines that know only COCO's.

At each IoU threshold a detection that overlaps a difficult object of its class enough, and takes none that counts, is
dropped: it is neither right nor wrong. Many detections may meet the same difficult object, and none has to. (VOC's own
script, VOCevaldet.m, asks only the object that is overlapped most: it calls wrong a second detection of an object that
is found, though a difficult one is met as well.) COCO's crowds differ: there the overlap is measured by the detection's
own area, so that everything inside a large one is forgiven.

The engines drop, by plain IoU, what meets an object whose area lies in no range, but one detection for each of them.
So a difficult one stands in the ground truth as many times as there are detections that could meet it.
"""

from __future__ import annotations

import numpy as np

from headstart.evaluation.types import ImageResult

IN_NO_RANGE = -1.0
"""Square pixels."""
LOWEST_IOU = 0.5 - 1e-6
"""The lowest threshold; less what the engines' arithmetic may differ from ours, as one copy too many does no harm."""


def copies_and_areas(image: ImageResult, max_detections: int) -> tuple[np.ndarray, np.ndarray]:
    """How many times each object stands in the ground truth (N,), and with what area (N,)."""
    by_voc = image.difficult & ~image.crowd
    copies = np.ones(len(by_voc), dtype=np.int64)
    if by_voc.any():
        copies[by_voc] = np.minimum(_meetings(image)[by_voc], max_detections)
    return copies, np.where(by_voc, IN_NO_RANGE, image.area)


def _meetings(image: ImageResult) -> np.ndarray:
    """(N,) how many detections of its class overlap each object at the lowest threshold."""
    same_class = image.truth_labels[:, None] == image.labels
    return (same_class & (_iou(image.truth_xywh, image.boxes_xywh) >= LOWEST_IOU)).sum(axis=1)


def _iou(a_xywh: np.ndarray, b_xywh: np.ndarray) -> np.ndarray:
    """(N, M); 0 where neither box has an area."""
    a, b = a_xywh[:, None], b_xywh[None]
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = (high - low).clip(0).prod(axis=-1)
    united = a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - shared
    return np.divide(shared, united, out=np.zeros_like(shared), where=united > 0)
