"""COCO evaluation by two independent libraries, brought to the same numbers."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from headstart.config.schema import Engine
from headstart.evaluation.difficult import copies_and_areas
from headstart.evaluation.types import ImageResult

AREAS = ("all", "small", "medium", "large")
"""Order of the area ranges in both libraries' results, as in pycocotools."""


def evaluate(
    images: Mapping[int, ImageResult], num_classes: int, engine: Engine, max_detections: int
) -> dict[str, Any]:
    """`scalars` by name, and `per_class`, `per_class_50` in the order of the classes. NaN: no ground truth."""
    if not any((~image.ignore).any() for image in images.values()):
        return _numbers(*_empty(num_classes))
    run = {Engine.hotcoco: _hotcoco, Engine.faster_coco_eval: _faster_coco_eval}[engine]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = ground_truth(images, num_classes, max_detections)
        return _numbers(*run(truth, detection_rows(images), max_detections))


def _hotcoco(truth: dict[str, Any], detections: np.ndarray, max_detections: int) -> tuple[np.ndarray, np.ndarray]:
    return _arrays(run_hotcoco(truth, detections, max_detections))


def run_hotcoco(truth: dict[str, Any], detections: np.ndarray, max_detections: int) -> Any:
    """Its evaluation, which knows more than the numbers: what became of each detection and object. Those have the ids
    1, 2, … in their order; a difficult object has as many as it has copies."""
    evaluation = hotcoco_evaluation(truth, detections, max_detections)
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


def hotcoco_evaluation(truth: dict[str, Any], detections: np.ndarray, max_detections: int) -> Any:
    """Of which nothing is computed yet."""
    from hotcoco import COCO, COCOeval

    coco = COCO(truth)
    evaluation = COCOeval(coco, coco.load_res(detections), "bbox")
    evaluation.params.max_dets = [max_detections]
    return evaluation


def _faster_coco_eval(
    truth: dict[str, Any], detections: np.ndarray, max_detections: int
) -> tuple[np.ndarray, np.ndarray]:
    from faster_coco_eval import COCO, COCOeval_faster

    coco = COCO(truth)
    evaluation = COCOeval_faster(coco, coco.loadRes(detections) if len(detections) else COCO(_no_boxes(truth)), "bbox")
    evaluation.params.maxDets = [max_detections]
    evaluation.evaluate()
    evaluation.accumulate()
    return _arrays(evaluation)


def _no_boxes(truth: dict[str, Any]) -> dict[str, Any]:
    return truth | {"annotations": []}


def _arrays(evaluation: Any) -> tuple[np.ndarray, np.ndarray]:
    """Precision (IoU, recall, class, area) and recall (IoU, class, area); -1 for no ground truth."""
    precision, recall = np.asarray(evaluation.eval["precision"]), np.asarray(evaluation.eval["recall"])
    return precision[..., 0], recall[..., 0]


def _empty(num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((10, 101, num_classes, len(AREAS)), -1.0), np.full((10, num_classes, len(AREAS)), -1.0)


def _numbers(precision: np.ndarray, recall: np.ndarray) -> dict[str, Any]:
    """Means over what has ground truth, as pycocotools' `summarize`."""
    everything = precision[:, :, :, 0]
    classes = range(precision.shape[2])
    return {
        "scalars": {
            "map": _mean(everything),
            "map_50": _mean(everything[0]),
            "map_75": _mean(everything[5]),
            **{f"map_{area}": _mean(precision[:, :, :, i]) for i, area in enumerate(AREAS) if i},
            "mar": _mean(recall[:, :, 0]),
        },
        "per_class": [_mean(everything[:, :, k]) for k in classes],
        "per_class_50": [_mean(everything[0, :, k]) for k in classes],
    }


def _mean(values: np.ndarray) -> float:
    valid = values[values > -1]
    return float(valid.mean()) if valid.size else float("nan")


def ground_truth(images: Mapping[int, ImageResult], num_classes: int, max_detections: int) -> dict[str, Any]:
    """A COCO data set in memory. Ids from 1: pycocotools takes annotation 0 for "no match"."""
    annotations = [
        {"image_id": image_id, "category_id": label + 1, "bbox": box, "area": area, "iscrowd": int(crowd)}
        for image_id, image in images.items()
        for box, label, crowd, area in _objects(image, max_detections)
    ]
    return {
        "images": [{"id": image_id, "width": 0, "height": 0} for image_id in images],
        "categories": [{"id": k + 1, "name": str(k)} for k in range(num_classes)],
        "annotations": [{"id": i + 1} | annotation for i, annotation in enumerate(annotations)],
    }


def _objects(image: ImageResult, max_detections: int) -> Iterable[tuple[list[float], int, bool, float]]:
    """Box, label, crowd and area of everything that stands in the ground truth."""
    copies, area = copies_and_areas(image, max_detections)
    columns = (image.truth_xywh, image.truth_labels, image.crowd, area)
    return zip(*(np.repeat(column, copies, axis=0).tolist() for column in columns), strict=True)


def detection_rows(images: Mapping[int, ImageResult]) -> np.ndarray:
    """(N, 7) rows of image id, x, y, width, height, score, category id."""
    rows = [
        np.column_stack([np.full(len(image.scores), image_id), image.boxes_xywh, image.scores, image.labels + 1])
        for image_id, image in images.items()
    ]
    return np.concatenate(rows).astype(np.float64) if rows else np.zeros((0, 7))
