"""The annotations of a COCO json in arrays: as objects, those of COCO itself take gigabytes."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

_KEPT = ("id", "image_id", "category_id", "bbox", "iscrowd", "area", "difficult", "ignore")
_NUMBERS = {int, float}
_LARGEST = 2**53
"""Whole numbers below are the same as floats."""


class _Annotation(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """As COCO's own; what has more or less is read by `json`."""

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float
    iscrowd: int
    segmentation: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_NUM_KEYS = 6
"""Of an annotation without an outline."""
_decode = msgspec.json.Decoder(list[_Annotation]).decode


class Packed(Sequence[Any]):
    """Items as they stand in the file, without the keys that nobody reads; in arrays where they are as COCO's own."""

    def __init__(self) -> None:
        self.ids, self.numbers, self.crowd = array("q"), array("d"), bytearray()
        self.odd: dict[int, Any] = {}
        """Number -> any other item."""

    def append(self, item: Any) -> None:
        ids, numbers, crowd = _plain(item) or ((0, 0, 0), (0,) * 5, -1)
        if crowd < 0:
            kept = {key: item[key] for key in _KEPT if key in item} if isinstance(item, dict) else item
            self.odd[len(self.crowd)] = kept
        self.ids.extend(ids)
        self.numbers.extend(numbers)
        self.crowd.append(max(crowd, 0))

    @staticmethod
    def of(items: Iterable[Any]) -> Packed:
        if isinstance(items, Packed):
            return items
        packed = Packed()
        for item in items:
            packed.append(item)
        return packed

    def extend_from(self, block: str) -> bool:
        """As `json_stream.Blocks` has it: where all items are as COCO's own, and sound."""
        try:
            items = _decode(block)
            ids = np.array([(item.id, item.image_id, item.category_id) for item in items], dtype=np.int64)
            crowd = bytes([item.iscrowd for item in items])
        except (msgspec.DecodeError, RecursionError, OverflowError, ValueError):
            return False
        outlines = sum(item.segmentation is not msgspec.UNSET for item in items)
        if block.count('"') != 2 * (_NUM_KEYS * len(items) + outlines):
            return False  # a key stands twice, or there are keys in an outline: `json_stream.once_each` looks
        numbers = np.array([(*item.bbox, item.area) for item in items])
        sound = np.abs(ids).max() < _LARGEST and np.abs(numbers).max() < _LARGEST and numbers[:, 4].min() > 0
        if not sound or max(crowd) > 1:
            return False
        self.ids.frombytes(ids.tobytes())
        self.numbers.frombytes(numbers.tobytes())
        self.crowd += crowd
        return True

    def columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """`id`, `image_id` and `category_id` (N, 3) int64, `bbox` and `area` (N, 5), `iscrowd` (N,), and which are odd.

        What stands for an odd one says nothing.
        """
        odd = np.zeros(len(self), dtype=bool)
        odd[list(self.odd)] = True
        ids, numbers = np.array(self.ids, dtype=np.int64), np.array(self.numbers, dtype=np.float64)
        return ids.reshape(-1, 3), numbers.reshape(-1, 5), np.array(self.crowd, dtype=bool), odd

    def __len__(self) -> int:
        return len(self.crowd)

    def __getitem__(self, index: int) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        number = range(len(self))[index]
        if number in self.odd:
            return self.odd[number]
        own, image, category = self.ids[3 * number : 3 * number + 3]
        *bbox, area = self.numbers[5 * number : 5 * number + 5]
        return {
            "id": own,
            "image_id": image,
            "category_id": category,
            "bbox": bbox,
            "area": area,
            "iscrowd": self.crowd[number],
        }


def _plain(item: Any) -> tuple[tuple[int, ...], tuple[float, ...], int] | None:
    """(ids, numbers, crowd) where these say all of it: of the types that COCO has, and sound."""
    try:
        bbox, crowd = item["bbox"], item["iscrowd"]
        ids = item["id"], item["image_id"], item["category_id"]
        numbers = x, y, width, height, area = (*bbox, item["area"])
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    if not (type(ids[0]) is type(ids[1]) is type(ids[2]) is type(crowd) is int and type(bbox) is list):
        return None
    types = {type(x), type(y), type(width), type(height), type(area)}
    if not (types <= _NUMBERS and 0 <= crowd <= 1 and area > 0) or "ignore" in item or "difficult" in item:
        return None
    in_range = min(*numbers, *ids) > -_LARGEST and max(*numbers, *ids) < _LARGEST
    return (ids, numbers, crowd) if in_range and x == x and y == y and width == width and height == height else None
