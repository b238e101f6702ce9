"""From what was seen of views to what was seen of the pictures that they are views of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headstart.data.halo import Found, merged
from headstart.data.tiles import Views
from headstart.evaluation.seen import Seen


def of_pictures(seen: Mapping[int, Seen], views: Views) -> dict[int, Seen]:
    """By picture: its own truth, and what was found in its views, merged. `seen` is by row of the views' table;
    pictures of which a view was left out (`trainer.limit_val_batches`) are left out."""
    pictures = {picture: views.of(picture) for picture in np.unique(views.numbers[[*seen]]).tolist()}
    return {
        picture: _of_picture(picture, [seen[row] for row in rows.tolist()], views, rows)
        for picture, rows in pictures.items()
        if seen.keys() >= set(rows.tolist())
    }


def _of_picture(picture: int, seen: list[Seen], views: Views, rows: np.ndarray) -> Seen:
    windows, found = views.windows_xyxy[rows], np.concatenate([one.found for one in seen]).astype(np.float64)
    numbers = np.repeat(np.arange(len(rows)), [len(one.found) for one in seen])
    boxes = found[:, :4] + np.tile(windows[numbers, :2], 2)
    width, height = views.pictures.sizes_wh[picture].tolist()
    whole = merged(Found.of(boxes, found[:, 4], found[:, 5].astype(np.int64), numbers, windows, (width, height)))
    columns = np.column_stack([whole.boxes_xyxy, whole.scores, whole.labels]).astype(np.float32)
    return Seen((height, width), columns, _truth(picture, views))


def _truth(picture: int, views: Views) -> np.ndarray:
    """In the columns of `Seen`."""
    own = {name: column[views.pictures.rows(picture)] for name, column in views.pictures.objects.items()}
    return np.column_stack([own[name] for name in ("boxes_xyxy", "labels", "crowd", "difficult", "area")])
