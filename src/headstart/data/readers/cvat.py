"""CVAT's own xml, "CVAT for images" (1.1): `<image name=… width=… height=…>` with boxes and outlines.

Rotated boxes, polygons, ellipses and masks become the box around them; points, polylines, skeletons and tags have none.
What is marked as outside is left out; `occluded` is lost; an attribute `difficult` is not. `subset` is the split.
An export "CVAT for video" has tracks, whose frames are no pictures: it is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from headstart import limits
from headstart.config.schema import CvatConfig
from headstart.data.policy import Policy
from headstart.data.readers import listed
from headstart.data.readers.found import Described, describe
from headstart.data.readers.geometry import (
    Box,
    corners,
    ellipse,
    enclose,
    is_upright,
    name_of,
    number,
    outline_area,
    rotated,
    says,
    size_of,
)
from headstart.data.readers.layout import relative_name
from headstart.data.readers.listed import AnotherFormat
from headstart.data.readers.raw import Malformed
from headstart.data.readers.xml_files import load
from headstart.data.types import DetectionData

_OBJECTS = ("box", "polygon", "ellipse", "mask", "cuboid", "points", "polyline", "skeleton", "tag")
_NO_BOX = ("points", "polyline", "skeleton", "tag")


def read(config: CvatConfig, policy: Policy | None = None) -> DetectionData:
    """Every split in use; what cannot be read is reported with file, picture and object."""
    return listed.read(config, policy, "xml of CVAT (CVAT for images)", _may_be, _parse)


def _may_be(path: Path) -> bool:
    return path.suffix.lower() == ".xml"


def _parse(path: Path, root: Path, policy: Policy) -> Iterator[Described]:
    top = load(path, limits.XML_BYTES, "an xml file")
    if top.tag != "annotations":
        raise AnotherFormat(f"begins with <{top.tag}>, where the xml of CVAT has <annotations>")
    if top.find("track") is not None:
        raise Malformed('has tracks of a video; export it as "CVAT for images", with its frames')
    for place, image in enumerate(top.findall("image")):
        name = (image.get("name") or "").strip()
        if not name:
            policy.report("malformed_entry", f"{relative_name(path, root)}: image {place}: has no name")
            continue
        item = describe(name, path, root, (image.get("subset") or "").lower() or None, _take)
        item.raw.size_wh = size_of(image.get("width"), image.get("height"))
        elements = enumerate((element for element in image if element.tag in _OBJECTS), start=1)
        item.objects += [(f"{name}: object {number_}", element) for number_, element in elements]
        yield item


def _take(item: Described, place: str, element: Any, policy: Policy) -> None:
    kind = str(element.tag)
    if says(element.get("outside")):
        item.report("out_of_view", place, f"a {kind}", policy)
        return
    if kind in _NO_BOX:
        item.report("no_box", place, f"a {kind}", policy)
        return
    box, upright, area = _outline(element, kind)
    if not upright and item.drops("enclosing_box", place, f"a {kind}", policy):
        return
    attributes = {(a.get("name") or "").casefold(): a.text for a in element.findall("attribute")}
    name = name_of(element.get("label"), "label")
    item.raw.add(box, name, place, says(attributes.get("iscrowd")), says(attributes.get("difficult")), area)


def _outline(element: Element, kind: str) -> tuple[Box, bool, float | None]:
    """(box, whether it is the object itself, area of the outline)."""

    def get(name: str) -> float:
        return number(element.get(name), name)

    turn = number(element.get("rotation") or "0", "rotation")
    if kind == "mask":
        x, y = get("left"), get("top")
        return (x, y, x + get("width"), y + get("height")), False, None
    if kind == "ellipse":
        return ellipse((get("cx"), get("cy")), get("rx"), get("ry"), math.radians(turn)), False, None
    if kind == "box":
        box = (get("xtl"), get("ytl"), get("xbr"), get("ybr"))
        if turn == 0:
            return box, True, None
        points = corners(box)
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        return enclose(rotated(points, turn, middle)), False, outline_area(points)
    if kind == "cuboid":
        names = [name for name in element.attrib if name.startswith(("xt", "xb"))]
        points = [(get(name), get(f"y{name[1:]}")) for name in names]
        if not points:
            raise Malformed("has no corners")
        return enclose(points), False, None
    pairs = [pair.split(",") for pair in (element.get("points") or "").split(";")]
    if any(len(pair) != 2 for pair in pairs):
        raise Malformed(f"points is {(element.get('points') or '')[:60]!r}; it must be x,y;x,y;…")
    points = [(number(x, "points"), number(y, "points")) for x, y in pairs]
    return enclose(points), is_upright(points), outline_area(points)
