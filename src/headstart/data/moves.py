"""Scales, crops and flips of a batch: their draws, and what they do to sizes and boxes. On the host, without torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.config.schema import AugmentConfig, Resize
from headstart.data import views
from headstart.data.crops import crop_windows
from headstart.data.draws import uniforms
from headstart.data.sizes import resized_wh
from headstart.data.types import Size

TargetArrays = dict[str, np.ndarray]
"""Padded ground truth of N images, as the fields of `batch.Targets`: (N, T, …) arrays, of which `present` and
`boxes_xyxy` are there."""

_PLACE, _CROP, FREE = views.FREE, views.FREE + 2, views.FREE + 3
"""Which of a key's numbers decide; those from `FREE` on, up to those of `crops`, are for other changes."""


@dataclass(frozen=True)
class Moves:
    """Of N images; None: none."""

    flip_x: np.ndarray | None = None
    flip_y: np.ndarray | None = None
    scale: np.ndarray | None = None
    """(N,) factors …"""
    at_xy: np.ndarray | None = None
    """(N, 2): … and where the scaled picture lies: 0 to the left, 1 to the right."""
    crop: np.ndarray | None = None
    """(N,) bool: whether a crop is tried."""

    @staticmethod
    def drawn(config: AugmentConfig, keys: np.ndarray) -> Moves:
        flip_x, flip_y = views.flips(config, keys).T
        numbers = uniforms(keys, 3, _PLACE)
        scale, at_xy = _scales(config, keys), numbers[:, :2]
        return Moves(
            flip_x=flip_x if config.hflip > 0 else None,
            flip_y=flip_y if config.vflip > 0 else None,
            scale=scale,
            at_xy=np.full_like(at_xy, 0.5) if config.scales else at_xy,
            crop=numbers[:, _CROP - _PLACE] < config.crop if config.crop > 0 else None,
        )

    @property
    def nothing(self) -> bool:
        return all(kind is None for kind in (self.flip_x, self.flip_y, self.scale, self.crop))


def _scales(config: AugmentConfig, keys: np.ndarray) -> np.ndarray | None:
    if config.scales:
        return np.array(config.scales)[views.scale_numbers(config, keys)]
    if (config.scale_min, config.scale_max) == (1.0, 1.0):
        return None
    return config.scale_min + views.scale_share(keys) * (config.scale_max - config.scale_min)


Window = tuple[np.ndarray, np.ndarray]
"""(N, 2, 2) corners of the source that are shown, and of where they come to lie."""


def move(
    moves: Moves, size: Size, keys: np.ndarray, sizes_hw: np.ndarray, objects: TargetArrays, canvas_hw: np.ndarray
) -> tuple[Window | None, TargetArrays, np.ndarray]:
    """Scale, then crop, then flips. What is left of the objects, first, and the heights and widths of the pictures."""
    boxes, kept = objects["boxes_xyxy"], objects["present"]
    seen = _Seen(sizes_hw[:, ::-1], boxes.astype(np.float64).reshape(*kept.shape, 2, 2), kept)
    if moves.scale is not None and moves.at_xy is not None:
        seen = _scaled(seen, moves.scale, moves.at_xy)
    if moves.crop is not None:
        crops = crop_windows(keys, moves.crop, seen.sizes_wh, seen.corners, seen.kept)
        seen = _cropped(seen, crops, size, np.asarray(canvas_hw)[..., ::-1])
    corners = _flipped(seen.corners.clip(0, _each(seen.sizes_wh)), moves, seen.sizes_wh)
    kept = seen.kept & (corners[:, :, 1] > corners[:, :, 0]).all(-1)
    moved = objects | {"boxes_xyxy": corners.reshape(boxes.shape).astype(boxes.dtype)}
    return seen.window, _packed(moved, kept), seen.sizes_wh[:, ::-1].copy()


@dataclass(frozen=True)
class _Seen:
    """Of N pictures, on the way."""

    sizes_wh: np.ndarray
    """(N, 2) int64."""
    corners: np.ndarray
    """(N, T, 2, 2) float64 of the objects' boxes."""
    kept: np.ndarray
    """(N, T) bool: which objects are in the picture."""
    window: Window | None = None
    """None: the pixels have not been touched."""


def _scaled(seen: _Seen, scale: np.ndarray, at_xy: np.ndarray) -> _Seen:
    """To whole pixels, laid at whole pixels into a picture of the former size."""
    whole = seen.sizes_wh
    scaled_wh = np.rint(whole * scale[:, None]).clip(1)
    offset = np.rint(at_xy * (whole - scaled_wh))
    corners = seen.corners * _each(scaled_wh / whole) + _each(offset)
    kept = seen.kept & _centres_inside(corners, np.zeros_like(whole), whole)
    window = _rectangle(np.zeros_like(whole), whole), _rectangle(offset, offset + scaled_wh)
    return _Seen(whole, corners.clip(0, _each(whole)), kept, window)


def _cropped(seen: _Seen, crops: np.ndarray, size: Size, canvas_wh: np.ndarray) -> _Seen:
    """To what the (N, 2, 2) `crops` show, which fills the picture again; a crop of all of it changes nothing."""
    low, high, whole = crops[:, 0], crops[:, 1], seen.sizes_wh
    cropped = np.any(high - low < whole, axis=1, keepdims=True)
    shown_wh = np.where(cropped, _fitted(high - low, size, canvas_wh), whole)
    corners = (seen.corners.clip(_each(low), _each(high)) - _each(low)) * _each(shown_wh) / _each(high - low)
    untouched = _rectangle(np.zeros_like(whole), whole)
    window = _cut(seen.window or (untouched, untouched), crops, cropped, shown_wh)
    return _Seen(shown_wh, corners, seen.kept & _centres_inside(seen.corners, low, high), window)


def _cut(window: Window, crops: np.ndarray, cropped: np.ndarray, shown_wh: np.ndarray) -> Window:
    """Where the pictures are cut to `crops` (N, 2, 2), which then have `shown_wh`.

    Only of those that are, the source's window is cut as well: no pixel beside a crop is mixed into it.
    """
    source, place = window
    low, high = crops[:, :1], crops[:, 1:]
    cut = np.where(cropped[:, None], place.clip(low, high), place)
    scale = np.diff(source, axis=1) / np.diff(place, axis=1)
    return source[:, :1] + (cut - place[:, :1]) * scale, (cut - low) * shown_wh[:, None] / (high - low)


def _fitted(sizes_wh: np.ndarray, size: Size, canvas_wh: np.ndarray) -> np.ndarray:
    """(N, 2): as `size` says, or, where that is beyond the canvas, as large as fits into it."""
    wanted = resized_wh(sizes_wh, size.min_size, size.max_size, size.resize is Resize.stretch)
    largest = np.rint(sizes_wh * (canvas_wh / sizes_wh).min(1, keepdims=True)).clip(1).astype(np.int64)
    return np.where((wanted > canvas_wh).any(1, keepdims=True), largest, wanted)


def _flipped(corners: np.ndarray, moves: Moves, sizes_wh: np.ndarray) -> np.ndarray:
    no = np.zeros(len(sizes_wh), bool)
    flipped = np.stack([no if way is None else way for way in (moves.flip_x, moves.flip_y)], axis=1)
    return np.where(_each(flipped), _each(sizes_wh) - corners[:, :, ::-1], corners)


def _centres_inside(corners: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(N, T) bool."""
    centres = corners.mean(2)
    return ((centres > low[:, None]) & (centres < high[:, None])).all(-1)


def _each(of_image: np.ndarray) -> np.ndarray:
    """(N, 2), one for each image, beside (N, T, 2, 2) corners."""
    return of_image[:, None, None]


def _rectangle(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.stack([low, high], axis=1).astype(np.float64)


def _packed(objects: TargetArrays, kept: np.ndarray) -> TargetArrays:
    """Those that are kept come first; the rest is zeros."""
    order = np.argsort(~kept, axis=1, kind="stable")
    present = np.take_along_axis(kept, order, 1)
    rows = np.arange(len(kept))[:, None]
    packed = {name: column[rows, order] for name, column in objects.items() if name != "present"}
    for column in packed.values():
        column[~present] = 0
    return {"present": present} | packed
