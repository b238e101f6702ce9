"""`analysis.json` of a run: what its report shows of its detections, as plain numbers. Imports no torch."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headstart.analysis.curves import IOUS, RECALLS, calibration, mean_precision, precision
from headstart.analysis.errors import confusion, tide
from headstart.analysis.scored import Scored, score
from headstart.analysis.thresholds import best_thresholds, kept
from headstart.records.detections import read_detections, splits_of
from headstart.records.record import RunRecord
from headstart.records.truth import read_truth
from headstart.replacing import replacing

FILE = "analysis.json"
VERSION = 1


def scored_splits(folder: Path, record: RunRecord) -> dict[str, Scored]:
    """Of a run's folder, by split; those without an object to be found are left out."""
    most = record.config["evaluation"]["max_detections"]
    prints = record.dataset.get("fingerprints", {})
    found = {
        split: score(read_truth(folder, prints[split]), read_detections(folder, split), most)
        for split in splits_of(folder)
    }
    return {split: scored for split, scored in found.items() if scored is not None}


def summarise(scored: Scored) -> dict[str, Any]:
    """Of a split. NaN where there is nothing to be measured."""
    thresholds = best_thresholds(scored)
    chosen = kept(scored, thresholds)
    by_class = precision(scored, IOUS[0])
    matrix = confusion(scored, chosen)
    return {
        "fingerprint": scored.truth.fingerprint,
        "max_detections": scored.max_detections,
        "detections": len(scored.found.scores),
        "classes": {
            name: {
                "objects": int((scored.wanted & (scored.truth.labels == label)).sum()),
                "threshold": _plain(thresholds[name]),
                "precision": by_class[label].tolist(),
            }
            for label, name in enumerate(scored.class_names)
        },
        "recalls": RECALLS,
        "precision": {f"{iou:g}": mean_precision(precision(scored, iou)).tolist() for iou in IOUS},
        "confusion": [[int(i), int(j), int(matrix[i, j])] for i, j in np.argwhere(matrix)],
        "errors": {kind: _plain(errors) for kind, errors in tide(scored).items()},
        "calibration": _plain(calibration(scored)),
        "pictures": {"rows": scored.found.measured.tolist(), "wrong": wrong(scored, chosen).tolist()},
    }


def wrong(scored: Scored, chosen: np.ndarray) -> np.ndarray:
    """(I,) int: in each picture that was looked at, of the (D,) `chosen` detections those that are wrong, and the
    objects that none of them found."""
    false = scored.found.images[chosen & scored.wrong]
    met = np.zeros(len(scored.wanted), dtype=bool)
    met[scored.partner[chosen & scored.right]] = True
    missed = scored.truth.images[scored.wanted & ~met]
    pictures = len(scored.truth.image_names)
    counts = np.bincount(false, minlength=pictures) + np.bincount(missed, minlength=pictures)
    return counts[scored.found.measured]


def write_analysis(folder: Path, found: Mapping[str, Mapping[str, Any]]) -> None:
    """By split; whole or not at all, NaN as null."""
    text = json.dumps(_finite({"version": VERSION, **found}), allow_nan=False, separators=(",", ":"))
    with replacing(folder / FILE) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _plain(thing: Any) -> Any:
    return None if thing is None else dataclasses.asdict(thing)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
