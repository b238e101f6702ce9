"""A validation picture as annotated, and beside it what the model finds: from what a run keeps, without the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import PIL.Image

from headstart.data.truth import KnownTruth
from headstart.data.types import AnnotatedImage
from headstart.inference.colours import colours_of
from headstart.inference.draw import Mark, draw_marks, grid
from headstart.records.detections import SplitDetections

SIDE = 480
"""Pixels of the long side of each of the two."""


def example(
    known: KnownTruth, found: SplitDetections, images: Sequence[AnnotatedImage], thresholds: Mapping[str, float]
) -> PIL.Image.Image | None:
    """Of the picture with as many objects as half of the others have, not of the one that looks best; None where no
    picture that was measured has any. Detections of at least the threshold of their class are shown."""
    truth = known.truth
    kept = ~(truth.crowd | truth.difficult)
    counts = np.bincount(truth.images[kept], minlength=len(truth.image_names))[found.measured]
    if not counts.any():
        return None
    rows = found.measured[counts > 0]
    row = int(rows[np.argsort(counts[counts > 0], kind="stable")[len(rows) // 2]])
    image = images[int(np.flatnonzero(known.rows == row)[0])]
    least = np.array([thresholds.get(name, 1.1) for name in truth.class_names])
    shown = (found.images == row) & (found.scores >= least[found.labels])
    there = kept & (truth.images == row)
    picture = image.read()
    pages = (
        _drawn(picture, truth.boxes_xyxy[there], truth.labels[there], None, truth.class_names),
        _drawn(picture, found.boxes_xyxy[shown], found.labels[shown], found.scores[shown], truth.class_names),
    )
    return grid([pages], ["as annotated", "as found"])


def _drawn(
    picture: PIL.Image.Image,
    boxes_xyxy: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray | None,
    class_names: tuple[str, ...],
) -> PIL.Image.Image:
    ratio = SIDE / max(picture.size)
    page = picture.resize([max(1, round(ratio * side)) for side in picture.size], PIL.Image.Resampling.LANCZOS)
    colours = colours_of(class_names)
    ends = [""] * len(labels) if scores is None else [f" {score:.2f}" for score in scores]
    rows = zip((boxes_xyxy * ratio).tolist(), labels.tolist(), ends, strict=True)
    marks = [Mark(tuple(box), class_names[label] + end, colours[label]) for box, label, end in rows]
    return draw_marks(page, reversed(marks))
