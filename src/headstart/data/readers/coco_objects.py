"""The objects of a COCO json as columns, until each image has its own."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.data.readers.coco_ids import Ids
from headstart.data.readers.coco_packed import Packed
from headstart.data.readers.json_files import show
from headstart.data.readers.raw import RawImage


@dataclass(frozen=True)
class Places(Sequence[str]):
    """What objects are called in messages: most are in none, so no text is kept."""

    ids: np.ndarray
    """(all objects,) int64."""
    odd: dict[int, str]
    """Number -> place, of those whose id is no number."""
    numbers: np.ndarray
    """(N,) of these."""

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        number = int(self.numbers[index])
        return self.odd.get(number) or f"annotation id {self.ids[number]}"


@dataclass
class Objects:
    """A row of each annotation."""

    items: Packed
    places: Places
    image: np.ndarray
    """(N,) number of its image; -1: it is of none, or left out, or was not looked at."""
    category: np.ndarray
    xyxy: np.ndarray
    """(N, 4)."""
    area: np.ndarray
    """(N,), NaN where the file does not say."""
    crowd: np.ndarray
    difficult: np.ndarray
    used: set[int]
    """Numbers of the categories that occur."""

    @staticmethod
    def of(items: Packed, images: Ids, categories: Ids) -> Objects:
        """With those that need no look: as COCO's own, of an image and a category that the json has."""
        ids, numbers, crowd, odd = items.columns()
        image, category = images.find_many(ids[:, 1]), categories.find_many(ids[:, 2])
        plain = ~odd & (image >= 0) & (category >= 0)
        return Objects(
            items,
            Places(ids[:, 0].copy(), {n: _place(n, item) for n, item in items.odd.items()}, np.arange(len(items))),
            np.where(plain, image, -1),
            category,
            np.hstack([numbers[:, :2], numbers[:, :2] + numbers[:, 2:4]]),
            numbers[:, 4],
            crowd,
            np.zeros(len(items), dtype=bool),
            used=set(np.unique(category[plain]).tolist()),
        )

    def unlooked(self) -> list[int]:
        """The numbers of those that need a look."""
        return np.flatnonzero(self.image < 0).tolist()

    def hand_out(self, raws: Sequence[RawImage], names: Sequence[str]) -> None:
        """To each image its objects, in the order of the file."""
        order = self.image.argsort(kind="stable")
        order = order[np.searchsorted(self.image[order], 0) :]
        ends = np.bincount(self.image[order], minlength=len(raws)).cumsum().tolist()
        name_of = dict(enumerate(names))
        classes = [name_of[number] for number in self.category[order].tolist()]
        corners, areas = (array("d", column[order].tobytes()) for column in (self.xyxy, self.area))
        crowd, difficult = (bytearray(column[order].tobytes()) for column in (self.crowd, self.difficult))
        start = 0
        for raw, end in zip(raws, ends, strict=True):
            if end > start:
                raw.classes = classes[start:end]
                raw.places = Places(self.places.ids, self.places.odd, order[start:end])
                raw.corners, raw.areas = corners[4 * start : 4 * end], areas[start:end]
                raw.crowd, raw.difficult = crowd[start:end], difficult[start:end]
            start = end


def _place(number: int, item: Any) -> str:
    return f"annotation id {show(item['id'])}" if "id" in item else f"annotations[{number}]"
