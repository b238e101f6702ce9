"""labelme's json, one for each picture, beside it or in a folder of labels.

Rectangles are boxes; polygons, circles and masks become the box around them; points and lines have none. Shapes with
one `group_id` and label are parts of one object, as labelme's own exporters take them. The picture is the one of the
json's name; else the one that `imagePath` names. `imageData`, a copy of the picture, is not read.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from headstart.config.checks import dataset_folder
from headstart.config.kinds import Action
from headstart.config.schema import LabelmeConfig
from headstart.data.policy import Policy
from headstart.data.readers import formats, layout
from headstart.data.readers.described import Described, conclude
from headstart.data.readers.geometry import (
    Box,
    Point,
    enclose,
    is_upright,
    name_of,
    outline_area,
    points_of,
    says,
    size_of,
)
from headstart.data.readers.json_files import load, looks_like, show
from headstart.data.readers.per_picture import pair
from headstart.data.types import DetectionData
from headstart.errors import UserError

_LINES = ("point", "points", "line", "linestrip")


def read(config: LabelmeConfig, policy: Policy | None = None) -> DetectionData:
    """Every split in use; UserError names the file and the shape that cannot be read."""
    root, policy = dataset_folder(config), policy or Policy(config.on)
    paths = layout.files(root)
    contents = {path: load(path) for path in paths if path.suffix.lower() == ".json"}
    labels = [path for path, content in contents.items() if is_labelme(content)]
    if not labels:
        like = "".join(f" {path}: {looks_like(content)}." for path, content in [*contents.items()][:3])
        raise UserError(
            f"dataset.root={root}: no json of labelme found (`shapes` and `imagePath`).{like}"
            f"{layout.packed(paths)}{formats.hint(paths, LabelmeConfig)}"
        )
    described = list(pair(root, labels, policy, "json files"))
    for item in described:
        if item.labelled:
            _take(item, contents[item.file], root, policy)
    return conclude(described, root, config, policy)


def is_labelme(content: Any) -> bool:
    return isinstance(content, dict) and "shapes" in content and "imagePath" in content


def _take(item: Described, content: dict[str, Any], root: Path, policy: Policy) -> None:
    _check_name(item, content["imagePath"])
    shapes = content["shapes"]
    if not isinstance(shapes, list):
        raise UserError(f"{item.file}: shapes is {show(shapes)}; it must be a list.")
    item.raw.size_wh = size_of(content.get("imageWidth"), content.get("imageHeight"))
    groups: dict[tuple[str, str], list[tuple[str, list[Point], bool]]] = {}
    for number, shape in enumerate(shapes):
        place = f"shapes[{number}]"
        name, points, difficult = _shape(item, place, shape, policy)
        if points:
            group = shape.get("group_id")
            groups.setdefault((name, place if group is None else show(group)), []).append((place, points, difficult))
    for (name, _), parts in groups.items():
        _add(item, name, parts, policy)


def _check_name(item: Described, written: Any) -> None:
    """The json of another name is of the picture that it names."""
    if not isinstance(written, str):
        raise UserError(f"{item.file}: imagePath is {show(written)}; it must be the name of a picture.")
    if not item.found and written.strip() and "\0" not in written:
        item.name = written
        return
    other = item.file.parent / written.replace("\\", "/").split("/")[-1]
    if layout.stem(other.name) != layout.stem(item.raw.path.name) and layout.is_image(other) and os.path.isfile(other):
        raise UserError(
            f"{item.file}: imagePath is {written}, which is there, and so is {item.raw.path.name}, which has the "
            "json's name: rename the json after the picture it is of."
        )


def _shape(item: Described, place: str, shape: Any, policy: Policy) -> tuple[str, list[Point], bool]:
    """(class, outline, whether it is difficult); no point where it has no box."""

    def refuse(why: str) -> UserError:
        return UserError(f"{item.file}: {place}: {why}")

    if not isinstance(shape, dict):
        raise refuse(f"is {show(shape)}; it must be a shape with label and points.")
    kind = shape.get("shape_type") or "polygon"
    flags = shape.get("flags")
    difficult = says(shape.get("difficult")) or (isinstance(flags, dict) and says(flags.get("difficult")))
    name = name_of(shape.get("label"), "label", refuse)
    if kind in _LINES:
        policy.report("no_box", f"{item.raw.where}: {place}: a {kind}", item.name)
        return name, [], difficult
    points = points_of(shape.get("points"), "points", refuse)
    if kind in ("rectangle", "mask") and len(points) == 2:
        x1, y1, x2, y2 = enclose(points)
        points = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    if kind == "circle" and len(points) == 2:
        points = _circle(*points)
    if kind == "mask" or len(points) != 4 or not is_upright(points):
        action = policy.report("enclosing_box", f"{item.raw.where}: {place}: a {show(kind)}", item.name)
        points = [] if action is Action.skip_box else points
    return name, points, difficult


def _circle(center: Point, edge: Point) -> list[Point]:
    radius = math.dist(center, edge)
    x, y = center
    return [(x - radius, y), (x, y - radius), (x + radius, y), (x, y + radius)]


def _add(item: Described, name: str, parts: list[tuple[str, list[Point], bool]], policy: Policy) -> None:
    place, points, _ = parts[0]
    if len(parts) > 1:
        policy.report("grouped", f"{item.raw.where}: {', '.join(part[0] for part in parts[:9])}", item.name)
    box: Box = enclose([point for _, some, _ in parts for point in some])
    polygon = len(parts) == 1 and len(points) > 4
    area = outline_area(points) if polygon else None
    item.raw.add(box, name, place, difficult=any(part[2] for part in parts), area=area)
