"""VGG Image Annotator (VIA 1 and 2): a project or an export, json or csv.

The class of a region is the attribute that all regions have, of several the one called like a class (`class`, `label`,
`name`, `type`, …). Polygons, circles and ellipses become the box around them; points and lines have none. A picture
without regions is a negative.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headstart.config.kinds import Action
from headstart.config.schema import ViaConfig
from headstart.data.policy import Policy
from headstart.data.readers import listed, tables
from headstart.data.readers.described import Described, describe
from headstart.data.readers.geometry import (
    Box,
    Point,
    Refuse,
    corners,
    ellipse,
    enclose,
    is_upright,
    name_of,
    number,
    outline_area,
    says,
)
from headstart.data.readers.json_files import load, show
from headstart.data.types import DetectionData
from headstart.errors import UserError

_CLASS = ("class", "label", "name", "type", "category", "object", "class_name", "object_name")
_CSV = ("filename", "region_shape_attributes", "region_attributes")
_LINES = ("point", "polyline")


def read(config: ViaConfig, policy: Policy | None = None) -> DetectionData:
    """Every split in use; UserError names the file and the region that cannot be read."""
    return listed.read(config, policy, "json or csv of VIA", _is_one, _parse)


def is_via(content: Any) -> bool:
    pictures = _pictures(content)
    first = next(iter(pictures.values()), None) if isinstance(pictures, dict) else None
    return isinstance(first, dict) and "filename" in first and "regions" in first


def _pictures(content: Any) -> Any:
    """Of a project, or of an export, which is only these."""
    return content.get("_via_img_metadata", content) if isinstance(content, dict) else None


def _is_one(path: Path) -> bool:
    if path.suffix.lower() == ".csv":
        return set(_CSV) <= {*tables.load(path).header()}
    return path.suffix.lower() == ".json" and is_via(load(path))


def _parse(path: Path, root: Path, policy: Policy) -> Iterator[Described]:
    pictures = [*(_of_csv(path) if path.suffix.lower() == ".csv" else _of_json(path))]
    key = _class_key(path, [attributes for _, regions in pictures for _, _, attributes in regions])
    found: dict[str, Described] = {}
    for name, regions in pictures:
        item = found.setdefault(name, describe(name, path, root))
        for place, shape, attributes in regions:
            _take(item, place, shape, attributes, key, policy)
    yield from found.values()


Region = tuple[str, dict[str, Any], dict[str, Any]]
"""Place, outline, attributes."""


def _of_json(path: Path) -> Iterator[tuple[str, list[Region]]]:
    pictures = _pictures(load(path))
    if not isinstance(pictures, dict):
        raise UserError(f"{path}: is no project of VIA, nor an export: pictures by their names are missing.")
    for key, picture in pictures.items():
        regions = picture.get("regions") if isinstance(picture, dict) else None
        name = picture.get("filename") if isinstance(picture, dict) else None
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"{path}: {key[:60]}: filename is {show(name)}; it must be the name of a picture.")
        if isinstance(regions, dict):  # VIA 1
            regions = [*regions.values()]
        if not isinstance(regions, list):
            raise UserError(f"{path}: {name}: regions is {show(regions)}; it must be a list.")
        yield name, [_region(path, f"{name}: regions[{place}]", region) for place, region in enumerate(regions)]


def _region(path: Path, place: str, region: Any) -> Region:
    parts = [region.get(key) if isinstance(region, dict) else None for key in ("shape_attributes", "region_attributes")]
    shape, attributes = parts
    if not isinstance(shape, dict) or not isinstance(attributes, dict):
        raise UserError(f"{path}: {place}: is {show(region)}; it must have shape_attributes and region_attributes.")
    return place, shape, attributes


def _of_csv(path: Path) -> Iterator[tuple[str, list[Region]]]:
    table = tables.load(path)
    names = table.header()
    missing = [name for name in _CSV if name not in names]
    if missing:
        raise table.refuse(1, f"no column {missing[0]}, which a csv of VIA has.")
    for line, row in table.records(names):
        if not row.get("filename"):
            raise table.refuse(line, "no picture is named; write its path, or remove the line.")
        parts = []
        for name in _CSV[1:]:
            try:
                parts.append(json.loads(row.get(name) or "{}"))
            except (ValueError, RecursionError) as error:
                raise table.refuse(line, f"{name} is no json ({error}); export it again.") from None
        shape, attributes = parts
        if not isinstance(shape, dict) or not isinstance(attributes, dict):
            raise table.refuse(line, f"{' and '.join(_CSV[1:])} must be objects of json.")
        yield row["filename"], [(f"line {line}", shape, attributes)] if shape else []


def _class_key(path: Path, attributes: list[dict[str, Any]]) -> str:
    """The one attribute that says the class; UserError where several may."""
    counts = Counter(key for some in attributes for key in some)
    everywhere = [key for key, count in counts.items() if count == len(attributes)]
    candidates = everywhere or [*counts]
    for fits in (candidates, [key for key in candidates if key.strip().casefold() in _CLASS]):
        if len(fits) == 1:
            return fits[0]
    if not attributes:
        return ""
    which = f"several may be: {', '.join(candidates)[:200]}" if candidates else "there are none"
    raise UserError(f"{path}: which region attribute is the class? {which}. Call the one `class` and export it again.")


def _take(item: Described, place: str, shape: dict[str, Any], said: dict[str, Any], key: str, policy: Policy) -> None:
    def refuse(why: str) -> UserError:
        return UserError(f"{item.file}: {place}: {why}")

    kind = shape.get("name")
    where = f"{item.raw.where}: {place}: a {show(kind)}"
    if kind in _LINES:
        policy.report("no_box", where, item.name)
        return
    points, box = _outline(shape, kind, refuse)
    if (
        kind != "rect"
        and not is_upright(points)
        and policy.report("enclosing_box", where, item.name) is Action.skip_box
    ):
        return
    area = outline_area(points) if kind == "polygon" else None
    item.raw.add(box, _class_of(said.get(key), key, refuse), place, difficult=says(said.get("difficult")), area=area)


def _class_of(value: Any, key: str, refuse: Refuse) -> str:
    """Text, or of checkboxes the one that is ticked."""
    if isinstance(value, dict):
        ticked = [name for name, on in value.items() if says(on)]
        if len(ticked) != 1:
            raise refuse(f"{key} is {show(value)}; one of them must be the class.")
        value = ticked[0]
    return name_of(value, key, refuse)


def _outline(shape: dict[str, Any], kind: Any, refuse: Refuse) -> tuple[list[Point], Box]:
    def get(name: str) -> float:
        return number(shape.get(name), name, refuse)

    if kind == "rect":
        x, y = get("x"), get("y")
        box = (x, y, x + get("width"), y + get("height"))
        return corners(box), box
    if kind in ("circle", "ellipse"):
        rx, ry = (get("r"), get("r")) if kind == "circle" else (get("rx"), get("ry"))
        box = ellipse((get("cx"), get("cy")), rx, ry, get("theta") if "theta" in shape else 0.0)
        return [], box
    if kind == "polygon":
        xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
        if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys) or not xs:
            raise refuse("all_points_x and all_points_y must be lists of equal length.")
        points = [
            (number(x, "all_points_x", refuse), number(y, "all_points_y", refuse)) for x, y in zip(xs, ys, strict=True)
        ]
        return points, enclose(points)
    raise refuse(f"shape is {show(kind)}; known are rect, polygon, circle, ellipse, point and polyline.")
