"""CVAT's own xml, "CVAT for images" (1.1): `<image name=… width=… height=…>` with boxes and outlines.

Rotated boxes, polygons, ellipses and masks become the box around them; points, polylines, skeletons and tags have none.
What is marked as outside is left out; `occluded` is lost; an attribute `difficult` is not. `subset` is the split.
An export "CVAT for video" has tracks, whose frames are no pictures: it is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from headstart import limits
from headstart.config.kinds import Action
from headstart.config.schema import CvatConfig
from headstart.data.policy import Policy
from headstart.data.readers import listed
from headstart.data.readers.described import Described, describe
from headstart.data.readers.geometry import (
    Box,
    Refuse,
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
from headstart.data.readers.raw import Malformed
from headstart.data.readers.xml_files import load
from headstart.data.types import DetectionData
from headstart.errors import UserError

_OBJECTS = ("box", "polygon", "ellipse", "mask", "cuboid", "points", "polyline", "skeleton", "tag")
_NO_BOX = ("points", "polyline", "skeleton", "tag")


def read(config: CvatConfig, policy: Policy | None = None) -> DetectionData:
    """Every split in use; UserError names the file, the picture and the object that cannot be read."""
    return listed.read(config, policy, "xml of CVAT (CVAT for images)", _is_one, _parse)


def _is_one(path: Path) -> bool:
    return path.suffix.lower() == ".xml" and _load(path).tag == "annotations"


def _load(path: Path) -> Element:
    try:
        return load(path, limits.XML_BYTES, "an xml file")
    except Malformed as error:
        raise UserError(f"{path}: {error}; correct it, or remove it.") from error


def _parse(path: Path, root: Path, policy: Policy) -> Iterator[Described]:
    top = _load(path)
    if top.tag != "annotations":
        raise UserError(f"{path}: begins with <{top.tag}>, where the xml of CVAT has <annotations>.")
    if top.find("track") is not None:
        raise UserError(f'{path}: has tracks of a video; export it as "CVAT for images", with its frames.')
    for place, image in enumerate(top.findall("image")):
        name = (image.get("name") or "").strip()
        if not name:
            raise UserError(f"{path}: image {place}: has no name; export it again.")
        item = describe(name, path, root, (image.get("subset") or "").lower() or None)
        item.raw.size_wh = size_of(image.get("width"), image.get("height"))
        for number_, element in enumerate((e for e in image if e.tag in _OBJECTS), start=1):
            _take(item, f"{name}: object {number_}", element, policy)
        yield item


def _take(item: Described, place: str, element: Element, policy: Policy) -> None:
    def refuse(why: str) -> UserError:
        return UserError(f"{item.file}: {place}: {why}")

    kind = str(element.tag)
    where = f"{item.raw.where}: {place}: a {kind}"
    if says(element.get("outside")):
        policy.report("out_of_view", where, item.name)
        return
    if kind in _NO_BOX:
        policy.report("no_box", where, item.name)
        return
    box, upright, area = _outline(element, kind, refuse)
    if not upright and policy.report("enclosing_box", where, item.name) is Action.skip_box:
        return
    attributes = {(a.get("name") or "").casefold(): a.text for a in element.findall("attribute")}
    name = name_of(element.get("label"), "label", refuse)
    item.raw.add(box, name, place, says(attributes.get("iscrowd")), says(attributes.get("difficult")), area)


def _outline(element: Element, kind: str, refuse: Refuse) -> tuple[Box, bool, float | None]:
    """(box, whether it is the object itself, area of the outline)."""

    def get(name: str) -> float:
        return number(element.get(name), name, refuse)

    turn = number(element.get("rotation") or "0", "rotation", refuse)
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
            raise refuse("has no corners.")
        return enclose(points), False, None
    pairs = [pair.split(",") for pair in (element.get("points") or "").split(";")]
    if any(len(pair) != 2 for pair in pairs):
        raise refuse(f"points is {(element.get('points') or '')[:60]!r}; it must be x,y;x,y;… .")
    points = [(number(x, "points", refuse), number(y, "points", refuse)) for x, y in pairs]
    return enclose(points), is_upright(points), outline_area(points)
