"""Boxes in a csv: a row for each object, columns found by their names whatever their order.

Without a header: `path,x1,y1,x2,y2,class`, as keras-retinanet has it. A row whose corners are all blank, or all zero
(as DeepForest writes it), says that the picture is a negative. Outlines (`geometry`, WKT) become the box around them
where there are no corners; points have no box.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from headstart.config.schema import CsvConfig
from headstart.data.policy import Policy
from headstart.data.readers import listed, tables
from headstart.data.readers.coco_ids import number_of
from headstart.data.readers.found import Described, describe
from headstart.data.readers.geometry import (
    Box,
    Point,
    enclose,
    is_upright,
    name_of,
    number,
    outline_area,
    says,
    size_of,
)
from headstart.data.readers.layout import relative_name
from headstart.data.readers.listed import AnotherFormat
from headstart.data.readers.raw import Malformed
from headstart.data.types import DetectionData

ALIASES: dict[str, tuple[str, ...]] = {
    "image": ("image_path", "filename", "file_name", "image", "image_name", "img", "image_file", "path", "file"),
    "xmin": ("xmin", "x_min", "x1", "left", "bbox_x1", "xtl"),
    "ymin": ("ymin", "y_min", "y1", "top", "bbox_y1", "ytl"),
    "xmax": ("xmax", "x_max", "x2", "right", "bbox_x2", "xbr"),
    "ymax": ("ymax", "y_max", "y2", "bottom", "bbox_y2", "ybr"),
    "class": ("label", "class", "class_name", "cell_type", "category", "label_name", "labels", "name"),
    "geometry": ("geometry", "polygon", "wkt"),
    "width": ("width", "image_width", "img_width"),
    "height": ("height", "image_height", "img_height"),
    "split": ("split", "subset", "set"),
    "difficult": ("difficult",),
    "crowd": ("iscrowd", "is_crowd", "crowd", "isgroupof"),
    "score": ("score", "scores", "confidence"),
}
"""What a column is -> what it may be called; the first name that a file has counts."""
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_PLAIN = ("image", *_CORNERS, "class")
_POINT = ("x", "y")
_WKT = re.compile(r"\s*(MULTI)?(POLYGON|POINT)\s*Z?\s*\(", re.IGNORECASE)
_NUMBERS = re.compile(r"[^\s,()]+\s+[^\s,()]+")


def read(config: CsvConfig, policy: Policy | None = None) -> DetectionData:
    """Every split in use; what cannot be read is reported with file and line."""
    return listed.read(config, policy, "csv with a column for the picture and its boxes", _may_be, _parse)


def _may_be(path: Path) -> bool:
    return path.suffix.lower() in (".csv", ".tsv")


def _parse(path: Path, root: Path, policy: Policy) -> Iterator[Described]:
    table = tables.load(path)
    if _is_plain(table):
        table.rows.insert(0, (0, [*_PLAIN]))
    names = table.header()
    _check_columns(table, names)
    columns = {what: tables.find_column(names, aliases) for what, aliases in ALIASES.items()}
    named = [next((what for what, at in columns.items() if at == place), name) for place, name in enumerate(names)]
    where = relative_name(path, root)
    if columns["score"] is not None:
        policy.report("scores", f"{where}: the column {names[columns['score']]}")
    found: dict[str, Described] = {}
    take = partial(_take, names=named)
    for line, name, fields in table.by_picture(named, "image", where, policy):
        item = found.get(name) or found.setdefault(name, describe(name, path, root, take=take))
        row = tables.record(fields, named)
        _take_split(line, row, item)
        item.raw.size_wh = item.raw.size_wh or size_of(row.get("width"), row.get("height"))
        item.objects.append((f"line {line}", fields))
    yield from found.values()


def _is_plain(table: tables.Table) -> bool:
    """Whether the first row is an object, or a picture without one."""
    if not table.rows or len(table.rows[0][1]) != len(_PLAIN):
        return False
    corners = [field.strip() for field in table.rows[0][1][1:5]]
    blank = not any(corners) and "." in table.rows[0][1][0]
    return blank or all(number_of(field) is not None for field in corners)


def _check_columns(table: tables.Table, names: list[str]) -> None:
    """VIA's own csv has other columns; a list of classes has no corners."""
    has = {what for what, aliases in ALIASES.items() if any(alias in names for alias in aliases)}
    enough = ("image",) if "geometry" in has or {*_POINT} <= {*names} else ("image", *_CORNERS)
    missing = [what for what in enough if what not in has]
    line = table.rows[0][0] if table.rows else 1
    if missing:
        what = missing[0]
        raise AnotherFormat(
            f"line {line}: no column for {', '.join(missing)}; {what} may be called {', '.join(ALIASES[what])}. The "
            f"columns are {', '.join(names)[:200] or 'none'}"
        )
    if "class" not in has:
        raise Malformed(f"line {line}: no column for the class; it may be called {', '.join(ALIASES['class'])}")


def _take_split(line: int, row: dict[str, str], item: Described) -> None:
    split = row.get("split", "").lower() or None
    if item.split is not None and split is not None and split != item.split:
        why = f"line {line}: {item.name} is in the split {split}, and above in {item.split}"
        item.faults.append(("malformed_entry", why))
    item.split = item.split or split


def _take(item: Described, place: str, written: Any, policy: Policy, names: list[str]) -> None:
    row = tables.record(written, names)
    corners, outline = [row.get(corner, "") for corner in _CORNERS], row.get("geometry", "")
    if not any(corners) and not outline:
        if any(row.get(axis) for axis in _POINT):
            item.report("no_box", place, "a point", policy)
        return  # a negative
    area = None
    if any(corners):
        x1, y1, x2, y2 = (number(value, name) for name, value in zip(_CORNERS, corners, strict=True))
        box: Box = (x1, y1, x2, y2)
        if box == (0, 0, 0, 0):
            policy.report("negative_row", f"{item.raw.where}: {place}", item.image)
            return
    else:
        kind, points = _outline(outline)
        if kind == "POINT":
            item.report("no_box", place, "a point", policy)
            return
        if not is_upright(points[:-1]) and item.drops("enclosing_box", place, "a polygon", policy):
            return
        box, area = enclose(points), outline_area(points) if outline.count("(") == 2 else None
    name = name_of(row.get("class", ""), "the class")
    item.raw.add(box, name, place, says(row.get("crowd")), says(row.get("difficult")), area)


def _outline(text: str) -> tuple[str, list[Point]]:
    """Kind and points, the last of a polygon being its first; of several rings all."""
    start = _WKT.match(text)
    if start is None:
        raise Malformed(f"geometry is {text[:60]!r}; it must be POLYGON ((x y, …)), MULTIPOLYGON or POINT (x y)")
    pairs = [pair.group().split() for pair in _NUMBERS.finditer(text, start.end())]
    points = [(number(x, "geometry"), number(y, "geometry")) for x, y in pairs]
    if not points:
        raise Malformed("geometry has no point")
    return start.group(2).upper(), points
