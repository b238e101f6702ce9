"""From what was found and what was to be found, as they lie on the disk, to the numbers. Imports no torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.config.schema import Engine
from headstart.evaluation.engines import evaluate
from headstart.evaluation.types import ImageResult
from headstart.records.detections import SplitDetections
from headstart.records.truth import Truth


def score(truth: Truth, found: SplitDetections, engine: Engine, max_detections: int) -> dict[str, Any]:
    """`scalars` by name, and `per_class`, `per_class_50` in the order of `truth.class_names`: what the run's record
    says, to the last bit, where the files are the run's."""
    return evaluate(image_results(truth, found), len(truth.class_names), engine, max_detections)


def image_results(truth: Truth, found: SplitDetections) -> dict[int, ImageResult]:
    """Of every picture that was looked at, by its row in `truth`."""
    objects, detections = (_by_picture(column, found.measured) for column in (truth.images, found.images))
    boxes, truth_boxes = (_xywh(boxes) for boxes in (found.boxes_xyxy, truth.boxes_xyxy))
    return {
        row: ImageResult(
            truth_xywh=truth_boxes[a],
            truth_labels=truth.labels[a].astype(np.int64),
            crowd=truth.crowd[a],
            difficult=truth.difficult[a],
            area=truth.area[a],
            boxes_xywh=boxes[b],
            scores=found.scores[b].astype(np.float64),
            labels=found.labels[b].astype(np.int64),
        )
        for row, a, b in zip(found.measured.tolist(), objects, detections, strict=True)
    }


def _by_picture(rows: np.ndarray, pictures: np.ndarray) -> list[slice]:
    """Where what is of each picture stands in a column that is in their order."""
    starts, ends = (np.searchsorted(rows, pictures, side).tolist() for side in ("left", "right"))
    return [slice(start, end) for start, end in zip(starts, ends, strict=True)]


def _xywh(boxes_xyxy: np.ndarray) -> np.ndarray:
    boxes = boxes_xyxy.astype(np.float64)
    return np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
