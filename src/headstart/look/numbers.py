"""What a data set's boxes are like, split by split: sizes, shapes, crowding. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.data.sizes import resized_wh
from headstart.data.table import ImageTable
from headstart.data.types import Resize, Size

SIDES = (0, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512)
ASPECTS = (0.0, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 4 / 5, 5 / 4, 3 / 2, 2, 3, 4)
COUNTS = (0, 1, 2, 3, 5, 10, 20, 50, 100, 200)
OVERLAPS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Where the bars of each histogram begin; the last has no end."""
LOW, HIGH = slice(0, 2), slice(2, 4)
"""Of a box, its corners."""


@dataclass(frozen=True)
class Histogram:
    """Of one question, with a column of bars for each split."""

    title: str
    unit: str
    """Of what is on the axis."""
    what: str
    """What is counted: `boxes`, `pictures`."""
    names: Sequence[str]
    """Of the bars: what each begins at."""
    counts: Mapping[str, Sequence[int]]
    """Split -> of each bar."""
    quantiles: Mapping[str, Sequence[float]]
    """Split -> smallest, 5 %, median, 95 %, largest."""


def histograms(splits: Mapping[str, ImageTable], size: Size) -> Iterator[Histogram]:
    """Of the boxes that train or are to be found; ignored ones are left out."""
    seen = {split: _seen_wh(images, size) for split, images in splits.items()}
    sides = {split: np.sqrt(wh.prod(axis=1)) for split, wh in seen.items()}
    aspects = {split: wh[:, 0] / wh[:, 1] for split, wh in seen.items()}
    crowds = {split: per_picture(images) for split, images in splits.items()}
    overlaps = {split: overlaps_of(images) for split, images in splits.items()}
    yield _histogram(
        f"Sides of boxes, as a detector sees them ({size})", "pixels, root of the area", "boxes", SIDES, sides
    )
    yield _histogram("Shapes of boxes", "width by height", "boxes", ASPECTS, aspects)
    yield _histogram("Boxes in a picture", "boxes", "pictures", COUNTS, crowds)
    yield _histogram("Crowding: the box that overlaps each most", "IoU with it", "boxes", OVERLAPS, overlaps)


def per_picture(images: ImageTable) -> np.ndarray:
    """(N,) boxes that count of each picture."""
    return np.bincount(images.owners()[~images.ignore], minlength=len(images))


def overlaps_of(images: ImageTable) -> np.ndarray:
    """(M,) IoU of each box that counts with the one of its picture, of any class, that it overlaps most."""
    counts = ~images.ignore
    boxes, owners = images.objects["boxes_xyxy"][counts], images.owners()[counts]
    found = np.zeros(len(boxes))
    for rows in np.split(np.arange(len(boxes)), np.flatnonzero(np.diff(owners)) + 1):
        if len(rows) > 1:
            found[rows] = _most(boxes[rows])
    return found


def _most(boxes: np.ndarray) -> np.ndarray:
    """(M,) of (M, 4)."""
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    low = np.maximum(boxes[:, None, LOW], boxes[None, :, LOW])
    high = np.minimum(boxes[:, None, HIGH], boxes[None, :, HIGH])
    shared = (high - low).clip(0).prod(axis=-1)
    united = np.maximum(area[:, None] + area - shared, 1e-9)
    np.fill_diagonal(shared, 0)
    return (shared / united).max(axis=1)


def _seen_wh(images: ImageTable, size: Size) -> np.ndarray:
    """(M, 2) widths and heights in the pixels that a detector gets."""
    counts, owners = ~images.ignore, images.owners()
    seen = resized_wh(images.sizes_wh, size.min_size, size.max_size, size.resize is Resize.stretch) / images.sizes_wh
    boxes = images.objects["boxes_xyxy"][counts]
    return np.maximum((boxes[:, HIGH] - boxes[:, LOW]) * seen[owners[counts]], 1e-9)


def _short(value: float) -> str:
    return f"{value:.2g}" if value < 1 else f"{value:g}"


def _histogram(
    title: str, unit: str, what: str, starts: Sequence[float], values: Mapping[str, np.ndarray]
) -> Histogram:
    counts = {split: np.histogram(found, [*starts, np.inf])[0].tolist() for split, found in values.items()}
    used = [i for i in range(len(starts)) if any(column[i] for column in counts.values())] or [0]
    bars = range(used[0], used[-1] + 1)
    return Histogram(
        title,
        unit,
        what,
        [_short(starts[i]) for i in bars],
        {split: [column[i] for i in bars] for split, column in counts.items()},
        {split: np.quantile(found, (0, 0.05, 0.5, 0.95, 1)).tolist() for split, found in values.items() if len(found)},
    )
