"""What a run found on each picture, from its files: what a comparison asks of it. Imports no torch."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from headstart.evaluation.matching import Matches, match
from headstart.evaluation.scoring import image_results
from headstart.records.arrays import damaged
from headstart.records.detections import SplitDetections, detections_path, read_detections, splits_of
from headstart.records.record import RunRecord
from headstart.records.truth import Truth, read_truth, truth_path


def look(folder: Path, record: RunRecord, split: str, metric: str) -> Matches | None:
    """None where the run kept no detections of the split, or what was to be found does not lie beside it.

    Raises `UserError` where a file is damaged, or the two are not of one split.
    """
    fingerprint = (record.dataset.get("fingerprints") or {}).get(split, "")
    if not fingerprint or split not in splits_of(folder) or not truth_path(folder, fingerprint).exists():
        return None
    truth, found = _truth(folder, fingerprint), read_detections(folder, split)
    check_fit(folder, truth, found)
    most = (record.config.get("evaluation") or {}).get("max_detections", 100)
    return match(image_results(truth, found), truth.class_names, metric, most)


def check_fit(folder: Path, truth: Truth, found: SplitDetections) -> None:
    """Raises `UserError` where the detections are of another split than the truth, or of a part of it."""
    pictures, classes = len(truth.image_names), len(truth.class_names)
    path = detections_path(folder)
    if len(found.measured) != pictures or int(found.measured.max(initial=-1)) >= pictures:
        raise damaged(path, f"it is of {len(found.measured)} pictures, and the split has {pictures}")
    if int(found.labels.max(initial=-1)) >= classes:
        raise damaged(path, f"it has class {found.labels.max()}, and the split has {classes} classes")


@lru_cache(maxsize=1)
def _truth_at(path: Path, folder: Path, changed: int) -> Truth:
    """Read once for all runs beside it."""
    return read_truth(folder, path.stem)


def _truth(folder: Path, fingerprint: str) -> Truth:
    path = truth_path(folder, fingerprint)
    return _truth_at(path, folder.parent / "run", path.stat().st_mtime_ns)
