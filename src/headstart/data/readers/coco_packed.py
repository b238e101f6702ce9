"""The annotations of a COCO json in arrays: as objects, those of COCO itself take gigabytes."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

_KEPT = ("id", "image_id", "category_id", "bbox", "iscrowd", "area", "difficult", "ignore")
_NUMBERS = {int, float}
_LARGEST = 2**53
"""Whole numbers below are the same as floats."""


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
