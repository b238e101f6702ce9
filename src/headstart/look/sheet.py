"""Training pictures as training gets them: resized, and augmented by the very functions that a run's batches go
through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from headstart.config.schema import AugmentConfig
from headstart.data.dataset import DetectionDataset, Key, rendered
from headstart.data.small import small_jpeg
from headstart.data.table import ImageTable
from headstart.data.types import Size, Target
from headstart.reporting.shown import Picture, Side, box

EPOCHS = 3
SIDE = 380
"""Pixels of a picture's long side on the sheet, at most."""
AT_ONCE = 8


def sheet(
    images: ImageTable, class_names: Sequence[str], size: Size, augment: AugmentConfig, seed: int, number: int
) -> Iterator[list[Picture]]:
    """A row a picture, spread over `images`: as it is, then in each of the first epochs of a run with this seed."""
    count = min(number, len(images))
    chosen = [position * len(images) // count for position in range(count)]
    plain = DetectionDataset(images, size)
    drawn = DetectionDataset(images, size, augment=augment, seed=seed)
    columns = [_items(plain, list(chosen)), *(_items(drawn, [(e, i) for i in chosen]) for e in range(EPOCHS))]
    for index, cells in zip(chosen, zip(*columns, strict=True), strict=True):
        titles = [images[index].name, *(f"epoch {epoch + 1}" for epoch in range(EPOCHS))]
        named = zip(titles, cells, strict=True)
        yield [_picture(f"p{index}e{e}", title, cell, class_names) for e, (title, cell) in enumerate(named)]


def _items(dataset: DetectionDataset, keys: list[Key]) -> Iterator[tuple[Tensor, Target]]:
    """As a loader asks for them."""
    for start in range(0, len(keys), AT_ONCE):
        with torch.inference_mode():  # which must not be left on for whoever takes them
            shown = [*rendered(dataset.__getitems__(keys[start : start + AT_ONCE])).per_image()]
        yield from shown


def _picture(name: str, title: str, cell: tuple[Tensor, Target], class_names: Sequence[str]) -> Picture:
    image, target = cell
    labels, ignored = target.labels.tolist(), target.ignore.tolist()
    boxes = [
        box([round(side, 1) for side in xyxy], label, class_names[int(label)], None if excused else True)
        for xyxy, label, excused in zip(target.boxes_xyxy.tolist(), labels, ignored, strict=True)
    ]
    height, width = image.shape[-2:]
    return Picture(name, title, width, height, small_jpeg(image, SIDE), [Side("", boxes)])
