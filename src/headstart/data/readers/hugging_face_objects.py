"""The boxes of a picture as Hugging Face `datasets` has them: lists of equal length, or a list of objects.

`bbox` is x, y, width, height, as in COCO, which the documentation of `datasets` has; the units check doubts any other
form. `categories` (or `category`, `label`, …) are numbers or names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from headstart.data.policy import Policy
from headstart.data.readers.coco_ids import number_of
from headstart.data.readers.found import Described
from headstart.data.readers.geometry import name_of, number, says
from headstart.data.readers.json_files import show
from headstart.data.readers.raw import Malformed

BOXES = ("bbox", "bboxes", "boxes")
CLASSES = ("categories", "category", "labels", "label", "category_id", "class")
FURTHER = ("iscrowd", "difficult", "area")
ALL = frozenset((*BOXES, *CLASSES, *FURTHER))


def add(item: Described, objects: Any, names: Mapping[str, str], place: str) -> None:
    """Gives the objects to `item`, which reads them when its picture is found.

    `names`: number of a class -> its name, empty where nobody says; `place`: line or row.
    """
    item.take = partial(_take, names, {*names.values()})
    try:
        item.objects = [(f"{place}: object {count}", one) for count, one in enumerate(_each(objects))]
    except Malformed as error:
        item.faults.append(("malformed_entry", f"{place}: {error}"))


def _take(names: Mapping[str, str], known: set[str], item: Described, place: str, one: Any, policy: Policy) -> None:
    box, category, crowd, difficult, area = one
    corners = _corners(box)
    key = name_of(category, "categories", Malformed)
    name = names.get(key, key)
    why = f"class {show(category)} is not among the {len(known)} that are named"
    if known and name not in known and item.drops("unknown_class", place, why, policy):
        return
    item.raw.add(corners, name, place, says(crowd), says(difficult), _area(item, area, place, policy))


def _corners(box: Any) -> tuple[float, float, float, float]:
    if not isinstance(box, list) or len(box) != 4:
        raise Malformed(f"bbox is {show(box)}; it must be four numbers: x, y, width, height")
    x, y, width, height = (number(value, "bbox", Malformed) for value in box)
    return x, y, x + width, y + height


def _area(item: Described, area: Any, place: str, policy: Policy) -> float | None:
    """None where there is none, or none that could be."""
    value = number_of(area)
    if area is None or (value is not None and value > 0):
        return value
    item.report("wrong_area", place, show(area), policy)
    return None


def _each(objects: Any) -> Iterator[tuple[Any, ...]]:
    """(box, category, crowd, difficult, area) of each."""
    if objects is None:
        raise Malformed("has no objects; write empty lists for a picture that shows nothing")
    if isinstance(objects, dict):
        lists = {key: value for key, value in objects.items() if isinstance(value, list)}
        boxes, classes = (_first(lists, keys) for keys in (BOXES, CLASSES))
        further = [lists.get(key, [None] * len(boxes)) for key in FURTHER]
        if {len(boxes)} != {len(some) for some in (classes, *further)}:
            raise Malformed(f"objects has {len(boxes)} boxes and {len(classes)} categories; each box needs one")
        yield from zip(boxes, classes, *further, strict=True)
        return
    if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
        raise Malformed(f"objects is {show(objects)}; it must hold bbox and categories")
    for one in objects:
        yield _first(one, BOXES), _first(one, CLASSES), *(one.get(key) for key in FURTHER)


def _first(values: dict[str, Any], keys: tuple[str, ...]) -> Any:
    key = first_of(values, keys)
    if key is None:
        raise Malformed(f"objects has no {keys[0]}; it has {', '.join(values)[:100] or 'nothing'}")
    return values[key]


def first_of(values: Iterable[str], keys: tuple[str, ...]) -> str | None:
    there = {*values}
    return next((key for key in keys if key in there), None)


def class_labels(content: Any, seen: set[int] | None = None, depth: int = 0) -> Iterator[dict[str, str]]:
    """Number -> name of each `class_label` (README.md) or `ClassLabel` (a file's features) within."""
    seen = set() if seen is None else seen  # what an alias stands for is looked at once
    below = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    names = content.get("names") if isinstance(content, dict) and (depth or "_type" in content) else None
    if isinstance(names, dict | list):
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        yield {str(number): name for number, name in pairs if isinstance(name, str)}
    for value in (value for value in below if depth < 20 and id(value) not in seen):
        seen.add(id(value))
        yield from class_labels(value, seen, depth + 1)
