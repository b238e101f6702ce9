"""Detections beside the truth, matched as COCO matches them: what everything else here reads. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.evaluation.difficult import copies_and_areas
from headstart.evaluation.engines import evaluated
from headstart.evaluation.types import ImageResult
from headstart.records.detections import SplitDetections
from headstart.records.truth import Truth

IOU = 0.5
"""From which a detection has found an object."""


@dataclass(frozen=True)
class Scored:
    """The detections of a split, each with what it came to at an IoU of 0.5.

    Crowds and difficult objects excuse detections and need not be found, as in the mAP.
    """

    truth: Truth
    found: SplitDetections
    max_detections: int
    """Of a picture that count."""
    evaluation: Any
    """hotcoco's, evaluated and accumulated over all IoU thresholds."""
    excused: np.ndarray
    """(D,) bool: of a crowd or a difficult object, neither right nor wrong."""
    partner: np.ndarray
    """(D,) int32: the row of `truth` that the detection found; -1: none."""
    wanted: np.ndarray
    """(T,) bool: objects that are to be found, in pictures that were looked at."""

    @property
    def right(self) -> np.ndarray:
        """(D,) bool."""
        return self.partner >= 0

    @property
    def wrong(self) -> np.ndarray:
        """(D,) bool."""
        return ~self.right & ~self.excused

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.truth.class_names)


def score(truth: Truth, found: SplitDetections, max_detections: int) -> Scored | None:
    """None where the pictures that were looked at have no object to be found."""
    objects, detections = _by_picture(truth.images, found.measured), _by_picture(found.images, found.measured)
    wanted = np.zeros(len(truth.images), dtype=bool)
    wanted[np.concatenate([*objects, np.zeros(0, int)])] = True
    wanted &= ~(truth.crowd | truth.difficult)
    if not wanted.any():
        return None
    images = {
        int(row): _image_result(truth, found, of_truth, of_found)
        for row, of_truth, of_found in zip(found.measured, objects, detections, strict=True)
    }
    evaluation = evaluated(images, len(truth.class_names), max_detections)
    known = evaluation.image_diagnostics(iou_thr=IOU)
    order = np.concatenate(detections)  # of detection 1, 2, … of hotcoco
    copies = [copies_and_areas(image, max_detections)[0] for image in images.values()]
    owners = np.concatenate([np.repeat(rows, n) for rows, n in zip(objects, copies, strict=True)])
    excused, partner = np.ones(len(found.scores), dtype=bool), np.full(len(found.scores), -1, dtype=np.int32)
    judged, matched = _pairs(known["dt_status"].items())[:, 0].astype(int), _pairs(known["dt_match"].items())
    excused[order[judged - 1]] = False
    partner[order[matched[:, 0] - 1]] = owners[matched[:, 1] - 1]
    return Scored(truth, found, max_detections, evaluation, excused, partner, wanted)


def _pairs(items: Any) -> np.ndarray:
    return np.array([(key, value if isinstance(value, int) else 0) for key, value in items], dtype=int).reshape(-1, 2)


def _by_picture(pictures: np.ndarray, wanted: np.ndarray) -> list[np.ndarray]:
    """The positions in `pictures` of each of the `wanted` ones."""
    order = np.argsort(pictures, kind="stable")
    ends = [np.searchsorted(pictures[order], wanted, side) for side in ("left", "right")]
    return [order[start:end] for start, end in zip(*ends, strict=True)]


def _image_result(truth: Truth, found: SplitDetections, objects: np.ndarray, detections: np.ndarray) -> ImageResult:
    return ImageResult(
        truth_xywh=xywh(truth.boxes_xyxy[objects]),
        truth_labels=truth.labels[objects],
        crowd=truth.crowd[objects],
        difficult=truth.difficult[objects],
        area=truth.area[objects],
        boxes_xywh=xywh(found.boxes_xyxy[detections]),
        scores=found.scores[detections],
        labels=found.labels[detections],
    )


def xywh(boxes_xyxy: np.ndarray) -> np.ndarray:
    """(N, 4) float64: left, top, width, height."""
    boxes = boxes_xyxy.astype(np.float64)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
