"""From results of views to results of the pictures that they are views of."""

from __future__ import annotations

import numpy as np

from headstart.data.halo import Found, merged
from headstart.data.tiles import Views
from headstart.evaluation.types import ImageResult


def of_pictures(results: dict[int, ImageResult], views: Views) -> dict[int, ImageResult]:
    """By picture: its own truth, and what was found in its views, merged. `results` are by row of the views' table;
    pictures of which a view was left out (`trainer.limit_val_batches`) are left out."""
    pictures = {picture: views.of(picture) for picture in np.unique(views.numbers[[*results]]).tolist()}
    return {
        picture: _of_picture(picture, [results[row] for row in rows.tolist()], views, rows)
        for picture, rows in pictures.items()
        if results.keys() >= set(rows.tolist())
    }


def _of_picture(picture: int, results: list[ImageResult], views: Views, rows: np.ndarray) -> ImageResult:
    windows = views.windows_xyxy[rows]
    lengths = [len(result.scores) for result in results]
    boxes = np.concatenate([_moved(result.boxes_xywh, low) for result, low in zip(results, windows, strict=True)])
    width, height = views.pictures.sizes_wh[picture].tolist()
    found = merged(
        Found.of(
            boxes,
            np.concatenate([result.scores for result in results]),
            np.concatenate([result.labels for result in results]),
            np.repeat(np.arange(len(rows)), lengths),
            windows,
            (width, height),
        )
    )
    own = {name: column[views.pictures.rows(picture)] for name, column in views.pictures.objects.items()}
    return ImageResult(
        truth_xywh=_xywh(own["boxes_xyxy"]),
        truth_labels=own["labels"],
        crowd=own["crowd"],
        difficult=own["difficult"],
        area=own["area"],
        boxes_xywh=_xywh(found.boxes_xyxy),
        scores=found.scores,
        labels=found.labels,
    )


def _moved(boxes_xywh: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Corners, in pixels of the picture whose window it is."""
    low = boxes_xywh[:, :2] + window[:2]
    return np.concatenate([low, low + boxes_xywh[:, 2:]], axis=1)


def _xywh(boxes_xyxy: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)
