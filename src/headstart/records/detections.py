"""`detections.npz` of a run: what its exported weights found in the pictures of every split they were measured on.
Needs no torch, no model and no data; the truth lies beside the runs (truth.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.errors import UserError
from headstart.records.arrays import Column, check, in_range, names_in, read_arrays, same_length, write_arrays
from headstart.records.record import DETECTIONS

SPLITS = ("val", "test")
_COLUMNS = {
    "images": Column("int32"),
    "boxes_xyxy": Column("float32", (4,)),
    "scores": Column("float32"),
    "labels": Column("int32"),
    "measured": Column("int32"),
}
OF_DETECTIONS = ("images", "boxes_xyxy", "scores", "labels")
"""Of the columns those that tell of detections, a row each."""


@dataclass(frozen=True, eq=False)
class SplitDetections:
    """D detections in I pictures, picture by picture, each one's best first."""

    images: np.ndarray
    """(D,) int32, ascending: row in `Truth`."""
    boxes_xyxy: np.ndarray
    """(D, 4) float32, original pixels."""
    scores: np.ndarray
    """(D,) float32 in 0..1."""
    labels: np.ndarray
    """(D,) int32, index into `Truth.class_names`, which may be in another order than the model's."""
    measured: np.ndarray
    """(I,) int32, ascending: rows of the pictures that were looked at, those without a detection among them."""


def detections_path(run_folder: Path) -> Path:
    return run_folder / DETECTIONS


def write_detections(run_folder: Path, found: Mapping[str, SplitDetections]) -> Path:
    """Of all splits at once, in one file; whole or not at all."""
    assert not set(found) - set(SPLITS)
    arrays = {
        f"{split}/{name}": getattr(one, name).astype(column.kind)
        for split, one in found.items()
        for name, column in _COLUMNS.items()
    }
    write_arrays(path := detections_path(run_folder), arrays)
    return path


def splits_of(run_folder: Path) -> list[str]:
    """Whose detections the run has; none where it has no file. Raises `UserError` for a damaged one."""
    path = detections_path(run_folder)
    return [split for split in SPLITS if f"{split}/images" in names_in(path)] if path.exists() else []


def read_detections(run_folder: Path, split: str) -> SplitDetections:
    """Raises `UserError` that names the file where it is not there, not whole, or has nothing of the split."""
    path = detections_path(run_folder)
    if path.exists() and split not in (known := splits_of(run_folder)):
        raise UserError(
            f"{path} has no detections of split={split}, but of {' and '.join(known) or 'none'}. "
            f"`headstart evaluate run={run_folder} split={split}` adds them."
        )
    found = SplitDetections(**read_arrays(path, _COLUMNS, f"{split}/"))
    _check(path, found)
    return found


def _check(path: Path, found: SplitDetections) -> None:
    boxes, scores = found.boxes_xyxy, found.scores
    check(
        path,
        its_columns_are_of_several_lengths=same_length([getattr(found, name) for name in OF_DETECTIONS]),
        its_detections_are_not_in_the_order_of_the_pictures=bool((np.diff(found.images) >= 0).all()),
        its_pictures_are_not_in_order=bool((np.diff(found.measured) > 0).all()),
        a_picture_has_a_negative_number=in_range(found.measured, np.iinfo(np.int32).max),
        a_detection_is_of_a_picture_that_was_not_looked_at=bool(np.isin(found.images, found.measured).all()),
        a_label_is_negative=in_range(found.labels, np.iinfo(np.int32).max),
        a_score_is_not_between_0_and_1=bool(((scores >= 0) & (scores <= 1)).all()),
        a_box_is_no_number=bool(np.isfinite(boxes).all()),
        a_box_has_its_corners_the_wrong_way_round=bool((boxes[:, 2:] >= boxes[:, :2]).all()),
    )
