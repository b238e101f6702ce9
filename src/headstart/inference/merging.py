"""Several detections of one object become one, outside of a network: of any detections, picture by picture.

The arithmetic is that of the detectors (detectors/merging.py), on as many pictures at once.
"""

from __future__ import annotations

import numpy as np
import torch

from headstart.config.postprocess import Rule
from headstart.data.batch import Detections, pad, presence
from headstart.detectors.merging import merged
from headstart.records.detections import OF_DETECTIONS, SplitDetections

AT_ONCE = 256
"""Pictures, so that the memory does not grow with the data set."""


def merge_pictures(found: SplitDetections, rule: Rule, sources: int = 1) -> SplitDetections:
    """Picture by picture, of `sources` views or networks: what `rule.method` makes of all of a picture's detections,
    whatever order they are in; the best first."""
    pictures = np.unique(found.images)
    starts = range(0, len(pictures), AT_ONCE)
    parts = [_merged(found, pictures[start : start + AT_ONCE], rule, sources) for start in starts]
    if not parts:
        return found
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in OF_DETECTIONS}
    return SplitDetections(**columns, measured=found.measured)


def _merged(found: SplitDetections, pictures: np.ndarray, rule: Rule, sources: int) -> SplitDetections:
    rows = [np.flatnonzero(found.images == picture) for picture in pictures]
    most, counts = max(map(len, rows)), [len(row) for row in rows]
    boxes, scores, labels = (
        pad([torch.from_numpy(column[row]) for row in rows], most)
        for column in (found.boxes_xyxy, found.scores, found.labels)
    )
    present = presence(counts, most, "cpu") & (scores > rule.score_threshold)
    kept = merged(Detections(present, boxes, scores, labels.long()), rule, sources)
    boxes, scores, labels = (column[kept.present].numpy() for column in (kept.boxes_xyxy, kept.scores, kept.labels))
    images = np.repeat(pictures, kept.present.sum(1).numpy())
    return SplitDetections(images, boxes, scores, labels.astype(np.int32), found.measured)
