"""What a run found, beside its record: its detections in its folder, and beside the runs what was to be found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from headstart.data.datamodule import DetectionDataModule
from headstart.evaluation.coco_map import MapResult
from headstart.records.detections import read_detections, splits_of, write_detections
from headstart.records.truth import write_truth


def keep_found(folder: Path, data: DetectionDataModule, results: Mapping[str, MapResult]) -> Path:
    """Of all splits that were measured. Raises `Unwritable`."""
    for split in results:
        write_truth(folder, data.truth(split).truth)
    return write_detections(folder, {split: one.detections for split, one in results.items() if one.detections})


def add_found(folder: Path, data: DetectionDataModule, split: str, result: MapResult) -> Path | None:
    """To a finished run what it lacks, as one of an older version does; what is there is the record's, and stays.

    Raises `UserError` where the file is damaged.
    """
    write_truth(folder, data.truth(split).truth)
    there = {one: read_detections(folder, one) for one in splits_of(folder)}
    if split in there or result.detections is None:
        return None
    return write_detections(folder, there | {split: result.detections})
