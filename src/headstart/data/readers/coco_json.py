"""From a COCO json to its images, objects and categories, each value of the type it must have.

A value that cannot be what it must is a `UserError` with the file and the object.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.config.kinds import Action
from headstart.data.policy import Policy
from headstart.data.readers.classes import BACKGROUND
from headstart.data.readers.coco_ids import Ids, number_of
from headstart.data.readers.coco_objects import Objects
from headstart.data.readers.coco_packed import Packed
from headstart.data.readers.json_files import load_parts, looks_like, show
from headstart.data.readers.json_stream import Items
from headstart.data.readers.layout import relative_name
from headstart.data.readers.raw import Malformed, RawImage
from headstart.errors import UserError

_FIELDS = {
    "images": ("id", "file_name"),
    "annotations": ("image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}
_YES, _NO = ("1", "true", "yes"), ("0", "false", "no", "", "none", "null")


@dataclass(slots=True)
class CocoImage:
    file_name: str
    size_wh: tuple[int, int] | None
    left_out: bool = False
    """Whether it is not to be used, for what is wrong with it."""


@dataclass
class CocoJson:
    path: Path
    where: str
    """The path for messages, relative to the data set's folder."""
    images: list[CocoImage] = field(default_factory=list)
    raws: list[RawImage] = field(default_factory=list)
    """The images with their objects; their files are not known yet."""
    categories: list[str] = field(default_factory=list)
    """Names in the order of the ids."""
    policy: Policy = field(default_factory=Policy)

    def report(self, kind: str, place: str, image: str = "") -> Action:
        return self.policy.report(kind, f"{self.where}: {place}", image)

    def report_of(self, image: int, kind: str, place: str) -> Action:
        """Of an object in an image, which is left out where the action is that."""
        action = self.report(kind, place, self.images[image].file_name)
        self.images[image].left_out |= action is Action.skip_image
        return action

    def refuse(self, place: str, why: str) -> UserError:
        return UserError(f"{self.path}: {place}: {why}")


def is_coco(content: Any) -> bool:
    """Whether it has images as COCO has; the rest may be missing, as in what is to be sent to a server."""
    return isinstance(content, dict) and isinstance(content.get("images"), list)


class _Images(list[Any]):
    """Items as they stand in the file, without the keys that nobody reads."""

    def append(self, item: Any, /) -> None:
        kept = ("id", "file_name", "width", "height")
        super().append({key: item[key] for key in kept if key in item} if isinstance(item, dict) else item)


_KEEPERS: dict[str, Callable[[], Items]] = {"images": _Images, "annotations": Packed}


def load(path: Path) -> Any:
    """What the file holds, whatever it is, as far as `parse` reads it; UserError where it is no JSON."""
    return load_parts(path, lambda key: _KEEPERS.get(key, list)())


def parse(path: Path, content: Any, root: Path, policy: Policy) -> CocoJson:
    """UserError where it is no COCO, or an object cannot be read."""
    _check_parts(path, content)
    part = CocoJson(path, relative_name(path, root), policy=policy)
    image_ids = Ids(path, "images", content["images"])
    category_ids = Ids(path, "categories", content["categories"])
    names = [_name(part, number, item) for number, item in enumerate(content["categories"])]
    part.images = [_image(part, number, item) for number, item in enumerate(content["images"])]
    part.raws = [RawImage(path, part.where, image.size_wh) for image in part.images]
    used, strangers = _add_objects(part, Packed.of(content["annotations"]), image_ids, category_ids, names)
    if strangers and strangers == len(content["annotations"]):
        raise UserError(_none_belong(part, content, image_ids))
    for ids in (image_ids, category_ids):
        if ids.loosely:
            part.report("id_types", f"{ids.loosely[0]}, and so on: {len(ids.loosely)}")
    kept = [number for number in range(len(names)) if number in used or not _is_none(part, number, content, names)]
    if len({names[number] for number in kept}) < len(kept):
        raise UserError(f"{path}: two categories have the same id or name; each class needs its own.")
    _report_gaps(part, category_ids)
    part.categories = [names[number] for number in sorted(kept, key=category_ids.order)]
    return part


def _report_gaps(part: CocoJson, categories: Ids) -> None:
    """Of ids that are whole numbers."""
    numbers = [number for value in categories.written if (number := number_of(value)) is not None]
    missing = int(max(numbers) - min(numbers)) + 1 - len(numbers) if numbers else 0
    if missing > 0 and len(numbers) == len(categories.written):
        part.report("id_gaps", f"{len(numbers)} category ids with {missing} missing between them")


def _check_parts(path: Path, content: Any) -> None:
    for part, keys in _FIELDS.items():
        items = content.get(part) if isinstance(content, dict) else None
        if not isinstance(items, list | Packed):
            raise UserError(
                f"{path}: has no list {part!r}, so it is no COCO annotation file for detection; {looks_like(content)}."
            )
        for number, item in items.odd.items() if isinstance(items, Packed) else enumerate(items):
            if not isinstance(item, dict):
                raise UserError(f"{path}: {part}[{number}] is {show(item)}; it must have {', '.join(keys)}.")
            for key in keys:
                if key not in item:
                    raise UserError(f"{path}: {part}[{number}] has no {key!r}.")


def _image(part: CocoJson, number: int, item: dict[str, Any]) -> CocoImage:
    name = item["file_name"]
    if not isinstance(name, str) or not _is_text(name):
        raise part.refuse(f"images[{number}]", f"file_name is {show(name)}; it must be the name of a file.")
    written = item.get("width"), item.get("height")
    width, height = map(number_of, written)
    if width is not None and height is not None:
        return CocoImage(name, (int(width), int(height)))
    if written == (None, None):
        return CocoImage(name, None)
    action = part.report("wrong_size", f"images[{number}]: {' x '.join(map(show, written))}", name)
    return CocoImage(name, None, left_out=action is Action.skip_image)


def _name(part: CocoJson, number: int, item: dict[str, Any]) -> str:
    name = item["name"]
    if isinstance(name, bool) or not isinstance(name, str | int | float) or not _is_text(str(name)):
        raise part.refuse(f"categories[{number}]", f"name is {show(name)}; it must be the name of a class.")
    return str(name)


def _is_text(name: str) -> bool:
    """Whether it says anything, and can be written: JSON can hold halves of characters."""
    return bool(name.strip()) and "\0" not in name and name.encode("utf-8", "replace").decode() == name


def _is_none(part: CocoJson, number: int, content: dict[str, Any], names: list[str]) -> bool:
    """Of an unused category: what programs write beside the classes, the background and Roboflow's root of them all."""
    items = content["categories"]
    others = [item for other, item in enumerate(items) if other != number]
    root = bool(others) and all(item.get("supercategory") == items[number]["name"] for item in others)
    background = names[number].strip().casefold() in BACKGROUND
    if root or background:
        why = "the supercategory of all others" if root else "the background"
        part.report("no_class", f"category {show(names[number])}, which has no object, is {why}")
    return root or background


def _add_objects(part: CocoJson, items: Packed, images: Ids, categories: Ids, names: list[str]) -> tuple[set[int], int]:
    """(numbers of the categories that occur; how many objects are of no image).

    Those that are as COCO's own all at once, for there may be a million.
    """
    objects = Objects.of(items, images, categories)
    strangers = sum(not _add_object(part, objects, number, images, categories, names) for number in objects.unlooked())
    objects.hand_out(part.raws, names)
    return objects.used, strangers


def _add_object(part: CocoJson, objects: Objects, number: int, images: Ids, categories: Ids, names: list[str]) -> bool:
    """Whether it is of an image."""
    place, item = objects.places[number], objects.items[number]
    image = images.find(part.path, place, "image_id", item["image_id"])
    category = categories.find(part.path, place, "category_id", item["category_id"])
    if category is not None:
        objects.used.add(category)
    if image is None:
        part.report("unknown_image", f"{place}: image_id {show(item['image_id'])}")
        return False
    if category is None:
        known = ", ".join(map(show, categories.written[:9]))
        why = f"category_id {show(item['category_id'])} is not among the categories ({known})"
        part.report_of(image, "unknown_class", f"{place}: {why}")
        return True
    try:
        x, y, width, height = _bbox(item["bbox"])
    except Malformed as error:
        part.report_of(image, "malformed_object", f"{place}: {error}")
        return True
    objects.crowd[number] = _says(part, place, item, "iscrowd")
    objects.difficult[number] = any([_says(part, place, item, flag) for flag in ("difficult", "ignore")])
    area = _area(part, place, item.get("area"))
    objects.area[number] = math.nan if area is None else area
    objects.xyxy[number] = x, y, x + width, y + height
    objects.image[number], objects.category[number] = image, category
    return True


def _none_belong(part: CocoJson, content: dict[str, Any], images: Ids) -> str:
    first = content["annotations"][0]["image_id"]
    known = ", ".join(map(show, images.written[:3])) or "there are none"
    return (
        f"{part.path}: none of the {len(content['annotations'])} annotations belongs to an image: they have image_id "
        f"{show(first)} and others, the images have id {known} …; export it again."
    )


def _bbox(bbox: Any) -> tuple[float, float, float, float]:
    try:
        if not isinstance(bbox, list) or any(isinstance(value, bool) for value in bbox):
            raise TypeError
        x, y, width, height = map(float, bbox)
    except (TypeError, ValueError, OverflowError):
        raise Malformed(f"bbox is {show(bbox)}; it must be four numbers: x, y, width, height") from None
    return x, y, width, height


def _says(part: CocoJson, place: str, item: dict[str, Any], flag: str) -> bool:
    """Some exporters write "0" or "false", which Python takes for true."""
    value = item.get(flag)
    if value is None or (type(value) is int and 0 <= value <= 1):
        return bool(value)
    text = f"{value:g}" if isinstance(value, float) else str(value).strip().casefold()
    if text not in _YES + _NO:
        raise part.refuse(place, f"{flag} is {show(value)}; it must be 0 or 1.")
    return text in _YES


def _area(part: CocoJson, place: str, area: Any) -> float | None:
    """As written; None where there is none, or none that could be."""
    value = None if isinstance(area, str) else number_of(area)
    if area is None or (value is not None and value > 0):
        return value
    part.report("wrong_area", f"{place}: {show(area)}")
    return None
