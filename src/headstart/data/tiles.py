"""Large pictures as tables of their windows, each of which is a row like any picture: what caches, lays out, augments
and draws pictures knows nothing of it.

Tiles of one size that overlap, at the picture's own resolution, and the whole picture scaled down: Akyon et al.,
Slicing Aided Hyper Inference, ICIP 2022; what of an object lies in a window as Van Etten, You Only Look Twice, 2018.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from headstart.config.schema import TileConfig
from headstart.data.columns import Digests, Texts, Windows
from headstart.data.draws import name_digests, uniforms
from headstart.data.images import FileImage
from headstart.data.table import ImageTable
from headstart.data.types import DetectionData
from headstart.errors import UserError


@dataclass(frozen=True)
class Views:
    """Which picture each row of a table of windows shows, and where in it."""

    pictures: ImageTable
    """What is measured and counted: with their own objects."""
    numbers: np.ndarray
    """(n,) int64: of the picture of each row; those of a picture stand together."""
    windows_xyxy: np.ndarray
    """(n, 4) int64, in pixels of the picture."""

    def of(self, picture: int) -> np.ndarray:
        """The rows of a picture."""
        return np.arange(*np.searchsorted(self.numbers, [picture, picture + 1]))


def windows(size_wh: tuple[int, int], tile: TileConfig) -> np.ndarray:
    """(n, 4) int64: the views of a picture, the whole of it first, if it is one.

    Tiles are as many as give the overlap, spread evenly from edge to edge. A picture no larger than one is seen whole.
    """
    width, height = size_wh
    whole = np.array([[0, 0, width, height]])
    if tile.size is None:
        return whole
    lefts, tops = (_starts(side, tile.size, tile.overlap) for side in size_wh)
    if len(lefts) * len(tops) == 1:
        return whole
    low = np.stack(np.meshgrid(lefts, tops), axis=-1).reshape(-1, 2)
    tiles = np.concatenate([low, np.minimum(low + tile.size, size_wh)], axis=1)
    return np.concatenate([whole, tiles]) if tile.whole else tiles


def _starts(side: int, size: int, overlap: float) -> np.ndarray:
    """Of the tiles along an axis."""
    if side <= size:
        return np.zeros(1, np.int64)
    step = max(1, math.floor(size * (1 - overlap)))
    return np.rint(np.linspace(0, side - size, math.ceil((side - size) / step) + 1)).astype(np.int64)


def in_tiles(data: DetectionData, tile: TileConfig) -> tuple[DetectionData, dict[str, Views]]:
    """The data set as a detector sees it, and what its splits are views of; without tiles it is the data set itself.

    Of training, empty tiles are left out as `tile.empty` says. Raises `UserError` where none shows an object.
    """
    if tile.size is None:
        return data, {}
    views = {split: _views(ImageTable.of(images), tile) for split, images in data.splits.items() if images}
    tables = {split: table(view, tile) for split, view in views.items()}
    if tables["train"].ignore.all() and not views["train"].pictures.ignore.all():
        raise UserError(
            f"dataset.tile.size={tile.size}: no tile shows {tile.min_visible:.0%} of any object of train. Raise "
            "it, lower dataset.tile.min_visible, or have whole pictures seen, too, with dataset.tile.whole=true."
        )
    kept = np.flatnonzero(~_spared(tables["train"], views["train"], tile.empty))
    tables["train"] = tables["train"].take(kept)
    views["train"] = replace(
        views["train"], numbers=views["train"].numbers[kept], windows_xyxy=views["train"].windows_xyxy[kept]
    )
    return replace(data, splits={**data.splits, **tables}), views


def _views(pictures: ImageTable, tile: TileConfig) -> Views:
    found = [windows((width, height), tile) for width, height in pictures.sizes_wh.tolist()]
    numbers = np.repeat(np.arange(len(pictures)), [len(one) for one in found])
    return Views(pictures, numbers, np.concatenate(found))


def _is_whole(views: Views) -> np.ndarray:
    """(n,) bool."""
    sizes = views.windows_xyxy[:, 2:] - views.windows_xyxy[:, :2]
    return (sizes == views.pictures.sizes_wh[views.numbers]).all(1)


def _spared(images: ImageTable, views: Views, share: float) -> np.ndarray:
    """(n,) bool: the tiles without an object that trains that are not among the share. A larger share has all of a
    smaller one."""
    full = np.zeros(len(images), bool)
    full[images.owners()[~images.ignore]] = True
    drawn = uniforms(name_digests(images.names), 1)[:, 0]
    return ~full & ~_is_whole(views) & (drawn >= share)


def table(views: Views, tile: TileConfig) -> ImageTable:
    """A row for each view; one of a whole picture is the picture's own."""
    whole = _is_whole(views)
    counts, objects = _objects(views, whole, tile.min_visible)
    pictures = views.pictures
    return ImageTable(
        Texts.of(_names(views, whole)),
        views.windows_xyxy[:, 2:] - views.windows_xyxy[:, :2],
        counts.cumsum(),
        objects,
        Digests.of(Texts.of(_digests(views, whole))),
        Windows(pictures.readers, Texts.of(pictures.digests), views.numbers, views.windows_xyxy, whole),
    )


def _objects(views: Views, whole: np.ndarray, min_visible: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """How many each view has, and their columns: cut to it, and difficult where too little of them is left."""
    pictures, counts, parts = views.pictures, [], []
    rows, shares = [], []
    for number, window, all_of_it in zip(views.numbers.tolist(), views.windows_xyxy, whole.tolist(), strict=True):
        of = pictures.rows(number)
        boxes = pictures.objects["boxes_xyxy"][of]
        cut = boxes.clip(np.tile(window[:2], 2), np.tile(window[2:], 2))
        share = np.ones(len(boxes)) if all_of_it else visible(boxes, cut)
        in_it = np.flatnonzero(share > 0)
        rows.append(of.start + in_it)
        shares.append(share[in_it])
        parts.append(cut[in_it] - np.tile(window[:2], 2))
        counts.append(len(in_it))
    columns = {name: column[np.concatenate(rows).astype(np.int64)] for name, column in pictures.objects.items()}
    share = np.concatenate(shares)
    columns["boxes_xyxy"] = np.concatenate(parts)
    columns["difficult"] = columns["difficult"] | (share < min_visible)
    columns["area"] = columns["area"] * share
    return np.array(counts, dtype=np.int64), columns


LEAST_PIXELS = 1.0
"""Of a side that is left of an object: of less there is nothing to be seen."""


def visible(boxes_xyxy: np.ndarray, cut_xyxy: np.ndarray) -> np.ndarray:
    """(N,) share of each box that is left of it; 0 where that is thinner than a pixel and the box was not."""
    sides, left = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], cut_xyxy[:, 2:] - cut_xyxy[:, :2]
    share = (left / sides).prod(1)
    return np.where((left >= np.minimum(sides, LEAST_PIXELS)).all(1), share, 0.0)


def _names(views: Views, whole: np.ndarray) -> Iterator[str]:
    for number, window, all_of_it in zip(views.numbers.tolist(), views.windows_xyxy.tolist(), whole, strict=True):
        name = views.pictures.names[number]
        yield name if all_of_it else f"{name}#{','.join(map(str, window))}"


def _digests(views: Views, whole: np.ndarray) -> Iterator[str]:
    """Of a tile: of the picture, of how it is turned, and of the window."""
    known, readers = views.pictures.digests, views.pictures.readers
    for number, window, all_of_it in zip(views.numbers.tolist(), views.windows_xyxy.tolist(), whole, strict=True):
        reader, digest = readers[number], known[number]
        turned = reader.orientation if isinstance(reader, FileImage) else 1
        said = repr((digest, turned, window)).encode()
        yield digest if all_of_it or not digest else hashlib.blake2b(said, digest_size=16).hexdigest()


def report(data: DetectionData, views: dict[str, Views]) -> str:
    """A line: as how many pictures each split is seen; empty without tiles."""
    if not views:
        return ""
    counts = [f"{split} {len(view.pictures):,} as {len(data.splits[split]):,}" for split, view in views.items()]
    return f"Tiles: pictures are seen in windows ({'; '.join(counts)}); mAP is of whole pictures"
