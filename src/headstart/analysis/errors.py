"""What goes wrong: TIDE's six kinds of error, and which class is taken for which. Imports no torch.

Both as hotcoco computes them (TIDE: Bolya et al., ECCV 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hotcoco import COCO, COCOeval

from headstart.analysis.scored import IOU, Scored
from headstart.evaluation.scoring import xywh

KINDS = {
    "Cls": "right place, wrong class",
    "Loc": "right class, box too far off",
    "Both": "wrong class and box off",
    "Dupe": "object that is found already",
    "Bkg": "nothing is there",
    "Miss": "object that nothing found",
}
"""TIDE's kinds of error -> in words."""


@dataclass(frozen=True)
class Errors:
    """Of one kind."""

    count: int
    cost: float
    """By how much AP at an IoU of 0.5 would rise without them."""


def tide(scored: Scored) -> dict[str, Errors]:
    """By kind, over all detections. A false positive is one that reaches an IoU of 0.5 with no object of its class that
    is free; below 0.1 with any it is background."""
    found = scored.evaluation.tide_errors(pos_thr=IOU, bg_thr=0.1)
    return {kind: Errors(int(found["counts"][kind]), float(found["delta_ap"][kind])) for kind in KINDS}


def confusion(scored: Scored, kept: np.ndarray) -> np.ndarray:
    """(K + 1, K + 1) int: rows are what is there, columns what was found, the last of each is background.

    Of the (D,) bool `kept` detections. Excused ones, and what excuses them, are left out.
    """
    rows, columns = np.flatnonzero(scored.wanted), np.flatnonzero(kept & ~scored.excused)
    truth, found = scored.truth, scored.found
    coco = COCO.from_arrays(
        images=[{"id": int(row), "width": 0, "height": 0} for row in found.measured],
        categories=[{"id": k + 1, "name": str(k)} for k in range(len(truth.class_names))],
        image_ids=truth.images[rows],
        category_ids=truth.labels[rows] + 1,
        boxes=xywh(truth.boxes_xyxy[rows]),
    )
    parts = (found.images, xywh(found.boxes_xyxy), found.scores, found.labels + 1)
    detections = np.column_stack([part[columns] for part in parts]).astype(np.float64)
    evaluation = COCOeval(coco, coco.load_res(detections), "bbox")
    return evaluation.confusion_matrix(iou_thr=IOU, max_det=max(1, len(columns)))["matrix"].astype(int)
