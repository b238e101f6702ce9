"""VGG Image Annotator (VIA 1 and 2): a project or an export, json or csv.

The class of a region is the attribute that all regions have, of several the one called like a class (`class`, `label`,
`name`, `type`, …). Polygons, circles and ellipses become the box around them; points and lines have none. A picture
without regions is a negative.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from headstart.config.schema import ViaConfig
from headstart.data.policy import Policy
from headstart.data.readers import json_files, listed, tables
from headstart.data.readers.found import Described, describe
from headstart.data.readers.geometry import (
    Box,
    Point,
    corners,
    ellipse,
    enclose,
    is_upright,
    name_of,
    number,
    outline_area,
    says,
)
from headstart.data.readers.json_files import show
from headstart.data.readers.layout import relative_name
from headstart.data.readers.listed import AnotherFormat
from headstart.data.readers.raw import Malformed
from headstart.data.types import DetectionData

_CLASS = ("class", "label", "name", "type", "category", "object", "class_name", "object_name")
_CSV = ("filename", "region_shape_attributes", "region_attributes")
_LINES = ("point", "polyline")


def read(config: ViaConfig, policy: Policy | None = None) -> DetectionData:
    """Every split in use; what cannot be read is reported with file and region."""
    return listed.read(config, policy, "json or csv of VIA", _may_be, _parse)


def _may_be(path: Path) -> bool:
    return path.suffix.lower() in (".csv", ".json")


def _parse(path: Path, root: Path, policy: Policy) -> Iterator[Described]:
    pictures = _of_csv(path, root, policy) if path.suffix.lower() == ".csv" else _of_json(path, root, policy)
    described = [*pictures]
    key = _class_key([said for item in described for _, (_, said) in item.objects if isinstance(said, dict)])
    for item in described:
        item.take = partial(_take, key=key)
    yield from described


def _of_json(path: Path, root: Path, policy: Policy) -> Iterator[Described]:
    pictures = _pictures(json_files.read(path))
    if pictures is None:
        raise AnotherFormat("is no project of VIA, nor an export: pictures by their names are missing")
    for key, picture in pictures.items():
        picture = picture if isinstance(picture, dict) else {}
        name, regions = picture.get("filename"), picture.get("regions")
        if not isinstance(name, str) or not name.strip():
            why = f"filename is {show(name)}; it must be the name of a picture"
            policy.report("malformed_entry", f"{relative_name(path, root)}: {key[:60]}: {why}")
            continue
        item = describe(name, path, root)
        if isinstance(regions, dict):  # VIA 1
            regions = [*regions.values()]
        if not isinstance(regions, list):
            item.faults.append(("malformed_entry", f"{name}: regions is {show(regions)}; it must be a list"))
            regions = []
        item.objects += [(f"{name}: regions[{place}]", _parts(region)) for place, region in enumerate(regions)]
        yield item


def _pictures(content: Any) -> dict[str, Any] | None:
    """Of a project, or of an export, which is only these; None where there are none."""
    pictures = content.get("_via_img_metadata", content) if isinstance(content, dict) else None
    some = pictures.values() if isinstance(pictures, dict) else ()
    return pictures if any(isinstance(one, dict) and {"filename", "regions"} <= {*one} for one in some) else None


def _parts(region: Any) -> tuple[Any, Any]:
    """Outline and attributes."""
    given = region if isinstance(region, dict) else {}
    return given.get("shape_attributes"), given.get("region_attributes")


def _of_csv(path: Path, root: Path, policy: Policy) -> Iterator[Described]:
    table = tables.load(path)
    names = table.header()
    missing = [name for name in _CSV if name not in names]
    if missing:
        raise AnotherFormat(f"line 1: no column {missing[0]}, which a csv of VIA has")
    found: dict[str, Described] = {}
    for line, name, fields in table.by_picture(names, "filename", relative_name(path, root), policy):
        item = found.get(name) or found.setdefault(name, describe(name, path, root))
        row = tables.record(fields, names)
        shape, said = (_json(row.get(column) or "{}") for column in _CSV[1:])
        if shape != {}:
            item.objects.append((f"line {line}", (shape, said)))
    yield from found.values()


def _json(text: str) -> Any:
    """What is no json stays text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _class_key(attributes: list[dict[str, Any]]) -> str:
    """The one attribute that says the class; `Malformed` where several may."""
    counts = Counter(key for some in attributes for key in some)
    everywhere = [key for key, count in counts.items() if count == len(attributes)]
    candidates = everywhere or [*counts]
    for fits in (candidates, [key for key in candidates if key.strip().casefold() in _CLASS]):
        if len(fits) == 1:
            return fits[0]
    if not attributes:
        return ""
    which = f"several may be: {', '.join(candidates)[:200]}" if candidates else "there are none"
    raise Malformed(f"which region attribute is the class? {which}. Call the one `class` and export it again")


def _take(item: Described, place: str, written: Any, policy: Policy, key: str) -> None:
    shape, said = written
    if not isinstance(shape, dict) or not isinstance(said, dict):
        raise Malformed(f"has {show(shape)} and {show(said)}, where shape_attributes and region_attributes are due")
    kind = shape.get("name")
    if kind in _LINES:
        item.report("no_box", place, f"a {show(kind)}", policy)
        return
    points, box = _outline(shape, kind)
    if kind != "rect" and not is_upright(points) and item.drops("enclosing_box", place, f"a {show(kind)}", policy):
        return
    area = outline_area(points) if kind == "polygon" else None
    item.raw.add(box, _class_of(said.get(key), key), place, difficult=says(said.get("difficult")), area=area)


def _class_of(value: Any, key: str) -> str:
    """Text, or of checkboxes the one that is ticked."""
    if isinstance(value, dict):
        ticked = [name for name, on in value.items() if says(on)]
        if len(ticked) != 1:
            raise Malformed(f"{key} is {show(value)}; one of them must be the class")
        value = ticked[0]
    return name_of(value, key)


def _outline(shape: dict[str, Any], kind: Any) -> tuple[list[Point], Box]:
    def get(name: str) -> float:
        return number(shape.get(name), name)

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
            raise Malformed("all_points_x and all_points_y must be lists of equal length")
        points = [(number(x, "all_points_x"), number(y, "all_points_y")) for x, y in zip(xs, ys, strict=True)]
        return points, enclose(points)
    raise Malformed(f"shape is {show(kind)}; known are rect, polygon, circle, ellipse, point and polyline")
