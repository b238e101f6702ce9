"""Detections beside the truth, matched as COCO matches them: what everything else here reads. Imports no torch."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.evaluation.difficult import copies_and_areas
from headstart.evaluation.engines import detection_rows, ground_truth, run_hotcoco
from headstart.evaluation.scoring import image_results
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
    looked_at = np.isin(truth.images, found.measured)
    wanted = looked_at & ~(truth.crowd | truth.difficult)
    if not wanted.any():
        return None
    images = image_results(truth, found)
    with contextlib.redirect_stdout(io.StringIO()):
        objects = ground_truth(images, len(truth.class_names), max_detections)
        evaluation = run_hotcoco(objects, detection_rows(images), max_detections)
        known = evaluation.image_diagnostics(iou_thr=IOU)
    copies = [copies_and_areas(image, max_detections)[0] for image in images.values()]
    owners = np.repeat(np.flatnonzero(looked_at), np.concatenate(copies))
    excused, partner = np.ones(len(found.scores), dtype=bool), np.full(len(found.scores), -1, dtype=np.int32)
    matches = np.array([*known["dt_match"].items()], dtype=int).reshape(-1, 2) - 1
    excused[np.array([*known["dt_status"]], dtype=int) - 1] = False
    partner[matches[:, 0]] = owners[matches[:, 1]]
    return Scored(truth, found, max_detections, evaluation, excused, partner, wanted)
