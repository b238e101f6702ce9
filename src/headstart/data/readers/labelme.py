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
from headstart.config.schema import LabelmeConfig
from headstart.data.policy import Policy
from headstart.data.readers import formats, json_files, layout
from headstart.data.readers.described import conclude
from headstart.data.readers.found import Described
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
from headstart.data.readers.json_files import looks_like, show
from headstart.data.readers.per_picture import pair
from headstart.data.readers.raw import Malformed
from headstart.data.types import DetectionData
from headstart.errors import UserError

_LINES = ("point", "points", "line", "linestrip")


def read(config: LabelmeConfig, policy: Policy | None = None) -> DetectionData:
    """Every split in use; what cannot be read is reported with file and shape."""
    root, policy = dataset_folder(config), policy or Policy(config.on)
    paths = layout.files(root)
    contents = {path: _load(path) for path in paths if path.suffix.lower() == ".json"}
    labels = [path for path, content in contents.items() if isinstance(content, Malformed) or is_labelme(content)]
    if not labels:
        like = "".join(f" {path}: {looks_like(content)}." for path, content in [*contents.items()][:3])
        raise UserError(
            f"dataset.root={root}: no json of labelme found (`shapes` and `imagePath`).{like}"
            f"{layout.packed(paths)}{formats.hint(paths, LabelmeConfig)}"
        )
    described = list(pair(root, labels, policy, lambda path: _image_path(contents[path])))
    for item in described:
        if item.labelled:
            try:
                _describe(item, contents[item.file])
            except Malformed as error:
                item.faults.append(("malformed_file", str(error)))
    return conclude(described, root, config, policy)


def is_labelme(content: Any) -> bool:
    return isinstance(content, dict) and "shapes" in content and "imagePath" in content


def _load(path: Path) -> Any:
    """What the file holds, or why it cannot be read."""
    try:
        return json_files.read(path)
    except Malformed as error:
        return error


def _image_path(content: Any) -> str:
    said = content.get("imagePath") if isinstance(content, dict) else None
    return said if isinstance(said, str) else ""


def _describe(item: Described, content: Any) -> None:
    if isinstance(content, Malformed):
        raise content
    if not isinstance(content["imagePath"], str):
        raise Malformed(f"imagePath is {show(content['imagePath'])}; it must be the name of a picture")
    if not isinstance(content["shapes"], list):
        raise Malformed(f"shapes is {show(content['shapes'])}; it must be a list")
    _check_name(item, content["imagePath"])
    item.raw.size_wh = size_of(content.get("imageWidth"), content.get("imageHeight"))
    item.objects, item.take = _groups(content["shapes"]), _take


def _check_name(item: Described, written: str) -> None:
    """The json of another name is of the picture that it names."""
    if not item.found and not item.faults and written.strip() and "\0" not in written:
        item.name = item.image = written
    if not item.found:
        return
    other = item.file.parent / written.replace("\\", "/").split("/")[-1]
    if layout.stem(other.name) != layout.stem(item.raw.path.name) and layout.is_image(other) and os.path.isfile(other):
        why = f"imagePath is {written}, which is there, and so is {item.raw.path.name}, which has the json's name"
        item.faults.append(("ambiguous_image", why))


def _groups(shapes: list[Any]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """(place of the first, (place, shape) of each) of the shapes that are parts of one object."""
    groups: dict[tuple[str, str], list[tuple[str, Any]]] = {}
    for number, shape in enumerate(shapes):
        place = f"shapes[{number}]"
        group = shape.get("group_id") if isinstance(shape, dict) else None
        key = ("", place) if group is None else (show(shape.get("label")), show(group))
        groups.setdefault(key, []).append((place, shape))
    return [(parts[0][0], parts) for parts in groups.values()]


def _take(item: Described, place: str, written: Any, policy: Policy) -> None:
    found = [(where, *_shape(item, where, shape, policy)) for where, shape in written]
    parts = [part for part in found if part[2]]
    if not parts:
        return
    if len(parts) > 1:
        item.report("grouped", place, "with " + ", ".join(part[0] for part in parts[1:9]), policy)
    place, name, points, _ = parts[0]
    box: Box = enclose([point for part in parts for point in part[2]])
    area = outline_area(points) if len(parts) == 1 and len(points) > 4 else None
    item.raw.add(box, name, place, difficult=any(part[3] for part in parts), area=area)


def _shape(item: Described, place: str, shape: Any, policy: Policy) -> tuple[str, list[Point], bool]:
    """(class, outline, whether it is difficult); no point where it has no box."""
    if not isinstance(shape, dict):
        raise Malformed(f"is {show(shape)}; it must be a shape with label and points")
    kind = shape.get("shape_type") or "polygon"
    flags = shape.get("flags")
    difficult = says(shape.get("difficult")) or (isinstance(flags, dict) and says(flags.get("difficult")))
    name = name_of(shape.get("label"), "label")
    if kind in _LINES:
        item.report("no_box", place, f"a {kind}", policy)
        return name, [], difficult
    points = points_of(shape.get("points"), "points")
    if kind in ("rectangle", "mask") and len(points) == 2:
        x1, y1, x2, y2 = enclose(points)
        points = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    if kind == "circle" and len(points) == 2:
        points = _circle(*points)
    outline = kind == "mask" or len(points) != 4 or not is_upright(points)
    if outline and item.drops("enclosing_box", place, f"a {show(kind)}", policy):
        points = []
    return name, points, difficult


def _circle(center: Point, edge: Point) -> list[Point]:
    radius = math.dist(center, edge)
    x, y = center
    return [(x - radius, y), (x, y - radius), (x + radius, y), (x, y + radius)]
