"""Several detections of one object become one, outside of a network: of any detections, picture by picture.

The arithmetic is that of the detectors (detectors/merging.py), on as many pictures at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from headstart.config.postprocess import Rule
from headstart.data.batch import Detections, pad, presence
from headstart.data.types import Prediction
from headstart.detectors.merging import merged

AT_ONCE = 256
"""Pictures, so that the memory does not grow with the data set."""


@dataclass(frozen=True, eq=False)
class Found:
    """D detections of any pictures, in any order."""

    images: np.ndarray
    """(D,) integers: which picture."""
    boxes_xyxy: np.ndarray
    """(D, 4), pixels of the picture."""
    scores: np.ndarray
    """(D,) in 0..1."""
    labels: np.ndarray
    """(D,) integers."""


def merge(found: Sequence[Prediction], rule: Rule) -> Prediction:
    """Of one picture, `found` by several views or networks (or by one): what `rule.method` makes of it."""
    parts = [(one.boxes_xyxy, one.scores, one.labels) for one in found]
    boxes, scores, labels = (torch.cat(columns)[None] for columns in zip(*parts, strict=True))
    candidates = Detections(scores > rule.score_threshold, boxes, scores, labels)
    return merged(candidates, rule, sources=len(found)).per_image()[0]


def merge_pictures(found: Found, rule: Rule, sources: int = 1) -> Found:
    """As `merge`, of many pictures; the result by picture, each one's best first."""
    pictures = np.unique(found.images)
    starts = range(0, len(pictures), AT_ONCE)
    parts = [_merged(found, pictures[start : start + AT_ONCE], rule, sources) for start in starts]
    if not parts:
        return found
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return Found(*(np.concatenate(column) for column in columns))


def _merged(found: Found, pictures: np.ndarray, rule: Rule, sources: int) -> Found:
    rows = [np.flatnonzero(found.images == picture) for picture in pictures]
    most, counts = max(map(len, rows)), [len(row) for row in rows]
    boxes, scores, labels = (
        pad([torch.from_numpy(column[row]) for row in rows], most)
        for column in (found.boxes_xyxy.astype(np.float32), found.scores.astype(np.float32), found.labels)
    )
    present = presence(counts, most, "cpu") & (scores > rule.score_threshold)
    kept = merged(Detections(present, boxes, scores, labels.long()), rule, sources)
    images = np.repeat(pictures, kept.present.sum(1).numpy())
    return Found(images, *(column[kept.present].numpy() for column in (kept.boxes_xyxy, kept.scores, kept.labels)))
