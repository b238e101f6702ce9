"""Detections in large pictures: a `Find` that looks at the tiles of each picture and at the whole of it, and merges."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from headstart.config.schema import TileConfig
from headstart.data.halo import Found, merged
from headstart.data.tiles import windows
from headstart.data.types import Prediction
from headstart.inference.large import InMemory, LargePicture
from headstart.inference.predictor import Find

AT_ONCE = 16
"""Views that are in memory."""
LARGEST_SIDE = 4096
"""Pixels: a whole picture beyond is scaled down by a whole number before `Find` sees it; detectors see far fewer."""


def tiled(find: Find, tile: TileConfig) -> Find:
    """As evaluation does it with `dataset.tile`; `find` itself where `tile.size` is null."""
    if tile.size is None:
        return find
    return lambda pictures: [find_in(InMemory(picture), find, tile) for picture in pictures]


def find_in(picture: LargePicture, find: Find, tile: TileConfig) -> Prediction:
    """What is in one picture, of any size: `AT_ONCE` views of it are in memory. Merged as `data.halo` says."""
    views = windows(picture.size_wh, tile)
    width, height = (views[-1, 2:] - views[-1, :2]).tolist()
    room = torch.empty(min(AT_ONCE, len(views)), 3, height, width, dtype=torch.uint8)
    parts = (views[start : start + AT_ONCE] for start in range(0, len(views), AT_ONCE))
    found = [prediction for part in parts for prediction in _in_views(picture, find, part, room)]
    return _together(found, views, picture.size_wh)


def _in_views(picture: LargePicture, find: Find, views: np.ndarray, room: Tensor) -> list[Prediction]:
    """In the pixels of each view. Tiles, which are of one size, lie in `room`, part after part."""
    shown = [_shown(picture, window, place) for window, place in zip(views, room, strict=False)]
    predictions = find([pixels for pixels, _ in shown])
    return [
        Prediction(one.boxes_xyxy.cpu() * factor, one.scores.cpu(), one.labels.cpu())
        for one, (_, factor) in zip(predictions, shown, strict=True)
    ]


def _shown(picture: LargePicture, window: np.ndarray, place: Tensor) -> tuple[Tensor, int]:
    """A view, and how many times it is scaled down."""
    x1, y1, x2, y2 = window.tolist()
    factor = math.ceil(max(picture.size_wh) / LARGEST_SIDE)
    if factor > 1 and (x2 - x1, y2 - y1) == picture.size_wh:
        return picture.reduced(factor).contiguous(), factor
    pixels = picture.cut((x1, y1, x2, y2))
    return (place.copy_(pixels) if pixels.shape == place.shape else pixels.contiguous()), 1


def _together(found: Sequence[Prediction], views: np.ndarray, size_wh: tuple[int, int]) -> Prediction:
    corners = [np.tile(window[:2], 2) for window in views]
    boxes = [one.boxes_xyxy.double().numpy() + corner for one, corner in zip(found, corners, strict=True)]
    whole = merged(
        Found.of(
            np.concatenate(boxes),
            np.concatenate([one.scores.numpy() for one in found]),
            np.concatenate([one.labels.numpy() for one in found]),
            np.repeat(np.arange(len(found)), [len(one.scores) for one in found]),
            views,
            size_wh,
        )
    )
    return Prediction(
        torch.from_numpy(whole.boxes_xyxy).float(), torch.from_numpy(whole.scores), torch.from_numpy(whole.labels)
    )
