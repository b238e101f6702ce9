"""The boxes of a picture as Hugging Face `datasets` has them: lists of equal length, or a list of objects.

`bbox` is x, y, width, height, as in COCO, which the documentation of `datasets` has; the units check doubts any other
form. `categories` (or `category`, `label`, …) are numbers or names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from headstart.data.policy import Policy
from headstart.data.readers.coco_ids import number_of
from headstart.data.readers.geometry import Refuse, name_of, number, says
from headstart.data.readers.json_files import show
from headstart.data.readers.raw import Malformed, RawImage

BOXES = ("bbox", "bboxes", "boxes")
CLASSES = ("categories", "category", "labels", "label", "category_id", "class")
FURTHER = ("iscrowd", "difficult", "area")
ALL = frozenset((*BOXES, *CLASSES, *FURTHER))


def add(raw: RawImage, objects: Any, names: Mapping[str, str], place: str, refuse: Refuse, policy: Policy) -> None:
    """Adds the objects to `raw`; those that cannot be read are reported to `policy`.

    `names`: number of a class -> its name, empty where nobody says; `place`: line or row. Raises what `refuse` makes of
    lists that do not belong together.
    """
    known = {*names.values()}
    for count, (box, category, crowd, difficult, area) in enumerate(_each(objects, refuse)):
        where = f"{place}: object {count}"
        try:
            corners = _corners(box)
            key = name_of(category, "categories", Malformed)
        except Malformed as error:
            raw.take(policy.report("malformed_object", f"{raw.where}: {where}: {error}"))
            continue
        name = names.get(key, key)
        if known and name not in known:
            shown = f"{raw.where}: {where}: class {show(category)} is not among the {len(known)} that are named"
            raw.take(policy.report("unknown_class", shown))
            continue
        raw.add(corners, name, where, says(crowd), says(difficult), _area(area, f"{raw.where}: {where}", policy))


def _corners(box: Any) -> tuple[float, float, float, float]:
    if not isinstance(box, list) or len(box) != 4:
        raise Malformed(f"bbox is {show(box)}; it must be four numbers: x, y, width, height")
    x, y, width, height = (number(value, "bbox", Malformed) for value in box)
    return x, y, x + width, y + height


def _area(area: Any, where: str, policy: Policy) -> float | None:
    """None where there is none, or none that could be."""
    value = number_of(area)
    if area is None or (value is not None and value > 0):
        return value
    policy.report("wrong_area", f"{where}: {show(area)}")
    return None


def _each(objects: Any, refuse: Refuse) -> Iterator[tuple[Any, ...]]:
    """(box, category, crowd, difficult, area) of each."""
    if objects is None:
        raise refuse("has no objects; write empty lists for a picture that shows nothing.")
    if isinstance(objects, dict):
        lists = {key: value for key, value in objects.items() if isinstance(value, list)}
        boxes, classes = (_first(lists, keys, refuse) for keys in (BOXES, CLASSES))
        further = [lists.get(key, [None] * len(boxes)) for key in FURTHER]
        if {len(boxes)} != {len(some) for some in (classes, *further)}:
            raise refuse(f"objects has {len(boxes)} boxes and {len(classes)} categories; each box needs one.")
        yield from zip(boxes, classes, *further, strict=True)
        return
    if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
        raise refuse(f"objects is {show(objects)}; it must hold bbox and categories.")
    for one in objects:
        yield _first(one, BOXES, refuse), _first(one, CLASSES, refuse), *(one.get(key) for key in FURTHER)


def _first(values: dict[str, Any], keys: tuple[str, ...], refuse: Refuse) -> Any:
    key = first_of(values, keys)
    if key is None:
        raise refuse(f"objects has no {keys[0]}; it has {', '.join(values)[:100] or 'nothing'}.")
    return values[key]


def first_of(values: Iterable[str], keys: tuple[str, ...]) -> str | None:
    there = {*values}
    return next((key for key in keys if key in there), None)


def class_labels(content: Any, depth: int = 0) -> Iterator[dict[str, str]]:
    """Number -> name of each `class_label` (README.md) or `ClassLabel` (a file's features) within."""
    below = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    names = content.get("names") if isinstance(content, dict) and (depth or "_type" in content) else None
    if isinstance(names, dict | list):
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        yield {str(number): str(name) for number, name in pairs}
    for value in below if depth < 20 else ():
        yield from class_labels(value, depth + 1)
