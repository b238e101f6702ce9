"""Which detections are right, picture by picture: done once, mAP of any resample of the pictures is a matter of sums.
Imports no torch."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.evaluation.engines import AREAS, detection_rows, ground_truth, hotcoco_evaluation
from headstart.evaluation.types import ImageResult

RECALLS = 100
"""Steps between the 101 recalls at which COCO reads a precision."""
THRESHOLDS = 10
"""Overlaps 0.50, 0.55, …, 0.95."""
CHUNK = 300_000
"""Numbers of an array that stay near the processor."""


@dataclass(frozen=True, eq=False)
class ClassMatches:
    """Of a class, D detections of all pictures, best first, up to the last right one: no others count."""

    pictures: np.ndarray
    """(D,) int: whose it is, as a position in what was measured."""
    right: np.ndarray
    """(10, D) bool, by overlap: it finds an object that counts."""
    counted: np.ndarray
    """(10, D) bool: it is right or wrong, and not excused."""
    objects: np.ndarray
    """(I,) int32: that are to be found in each picture."""


@dataclass(frozen=True, eq=False)
class Matches:
    """Of a run's detections on I pictures; `resampled` gives its metric of any resample."""

    metric: str
    pictures: int
    classes: tuple[ClassMatches, ...]

    @property
    def cost(self) -> int:
        """Steps of one resample, about."""
        return sum(len(one.pictures) + 4 * int(one.right.sum()) for one in self.classes)

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """(B,) from (B, I): how often each picture is in each resample. NaN where nothing is to be found."""
        found = [self._of_class(one, weights) for one in self.classes]
        with np.errstate(invalid="ignore"):
            stacked = np.stack(found)
            known = ~np.isnan(stacked)
            return np.where(known, stacked, 0).sum(0) / known.sum(0)

    def _of_class(self, one: ClassMatches, weights: np.ndarray) -> np.ndarray:
        step = max(1, CHUNK // max(1, len(one.pictures)))
        few = weights.astype(np.int32)
        parts = [_numbers(one, few[start : start + step], self.metric) for start in range(0, len(few), step)]
        return np.concatenate(parts)


def match(images: Mapping[int, ImageResult], class_names: Sequence[str], metric: str, max_detections: int) -> Matches:
    """By hotcoco; `metric` is a name of a record's (`map`, `map_50`, `map_small`, `mar`, `per_class/dog`, …)."""
    wanted = class_names.index(metric.partition("/")[2]) if "/" in metric else None
    area = AREAS.index(metric[4:]) if metric[4:] in AREAS else 0
    with contextlib.redirect_stdout(io.StringIO()):
        truth = ground_truth(images, len(class_names), max_detections)
        evaluation = hotcoco_evaluation(truth, detection_rows(images), max_detections)
        params = evaluation.params
        params.area_rng, params.area_rng_lbl = [params.area_rng[area]], [AREAS[area]]
        if wanted is not None:
            params.cat_ids = [wanted + 1]
        evaluation.evaluate()
    places = {image_id: place for place, image_id in enumerate(images)}
    of_class: dict[int, list[Any]] = {}
    for one in evaluation.eval_imgs:
        if one is not None:
            of_class.setdefault(one["category_id"], []).append(one)
    classes = tuple(_class_matches(found, places) for _, found in sorted(of_class.items()))
    return Matches(metric, len(images), classes)


def _class_matches(found: Sequence[Any], places: Mapping[int, int]) -> ClassMatches:
    objects = np.zeros(len(places), dtype=np.int32)
    for one in found:
        objects[places[one["image_id"]]] = sum(one["gtInDenominator"])
    counts = [len(one["dtScores"]) for one in found]
    pictures = np.repeat([places[one["image_id"]] for one in found], counts).astype(np.int64)
    order = np.argsort(-np.concatenate([np.asarray(one["dtScores"], dtype=float) for one in found]), kind="stable")
    matched, ignored = (
        np.hstack([np.asarray(one[name], dtype=bool).reshape(THRESHOLDS, -1) for one in found])[:, order]
        for name in ("dtMatched", "dtIgnore")
    )
    right = matched & ~ignored
    last = int(np.flatnonzero(right.any(0)).max(initial=-1)) + 1
    return ClassMatches(pictures[order][:last], right[:, :last], ~ignored[:, :last], objects)


def _numbers(one: ClassMatches, weights: np.ndarray, metric: str) -> np.ndarray:
    """(B,) of a class: COCO's average precision, or recall, with each picture as often as its weight says."""
    objects = weights @ one.objects
    of = weights[:, one.pictures]
    total = None if not one.counted.all() else of.cumsum(1, dtype=np.int32)
    chosen = {"map_50": (0,), "map_75": (5,)}.get(metric, (0,) if metric.startswith("per_class_50/") else range(10))
    values = np.zeros(len(weights))
    for overlap in chosen:
        rows = np.flatnonzero(one.right[overlap])
        right = of[:, rows].cumsum(1, dtype=np.int32)
        counted = total if total is not None else (of * one.counted[overlap]).cumsum(1, dtype=np.int32)
        values += _recall(right, objects) if metric == "mar" else _precision(right, counted[:, rows], objects)
    return np.where(objects > 0, values / len(chosen), np.nan)


def _recall(right: np.ndarray, objects: np.ndarray) -> np.ndarray:
    return right[:, -1] / np.maximum(objects, 1) if right.shape[1] else np.zeros(len(objects))


def _precision(right: np.ndarray, counted: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """(B,) from (B, M) of the right ones so far and of all so far, at each right one: the greatest precision at no less
    recall, over 101 recalls."""
    precision = right / np.maximum(counted, 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = np.where(right > 0, right * RECALLS // np.maximum(objects, 1)[:, None] + 1, 0)
    return (envelope * np.diff(reached, axis=1, prepend=0)).sum(1) / (RECALLS + 1)
