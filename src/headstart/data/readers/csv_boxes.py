"""Boxes in a csv: a row for each object, columns found by their names whatever their order.

Without a header: `path,x1,y1,x2,y2,class`, as keras-retinanet has it. A row whose corners are all blank, or all zero
(as DeepForest writes it), says that the picture is a negative. Outlines (`geometry`, WKT) become the box around them
where there are no corners; points have no box.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from headstart.config.kinds import Action
from headstart.config.schema import CsvConfig
from headstart.data.policy import Policy
from headstart.data.readers import listed, tables
from headstart.data.readers.coco_ids import number_of
from headstart.data.readers.described import Described, describe
from headstart.data.readers.geometry import (
    Box,
    Point,
    Refuse,
    enclose,
    is_upright,
    name_of,
    number,
    outline_area,
    says,
    size_of,
)
from headstart.data.types import DetectionData
from headstart.errors import UserError

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
    """Every split in use; UserError names the file and the line that cannot be read."""
    return listed.read(config, policy, "csv with a column for the picture and its boxes", _is_one, _parse)


def _is_one(path: Path) -> bool:
    if path.suffix.lower() not in (".csv", ".tsv"):
        return False
    table = tables.load(path)
    names = table.header()
    has = {what for what, aliases in ALIASES.items() if any(alias in names for alias in aliases)}
    # VIA's own csv has other columns; a list of classes has no corners
    boxes = has >= {"image", *_CORNERS} or has >= {"image", "geometry"} or ("image" in has and {*_POINT} <= {*names})
    return boxes or _is_plain(table)


def _is_plain(table: tables.Table) -> bool:
    """Whether the first row is an object, or a picture without one."""
    if not table.rows or len(table.rows[0][1]) != len(_PLAIN):
        return False
    corners = [field.strip() for field in table.rows[0][1][1:5]]
    blank = not any(corners) and "." in table.rows[0][1][0]
    return blank or all(number_of(field) is not None for field in corners)


def _parse(path: Path, root: Path, policy: Policy) -> Iterator[Described]:
    table = tables.load(path)
    if _is_plain(table):
        table.rows.insert(0, (0, [*_PLAIN]))
    names = table.header()
    columns = {what: tables.find_column(names, aliases, path) for what, aliases in ALIASES.items()}
    _check_columns(table, names, columns)
    named = [next((what for what, at in columns.items() if at == place), name) for place, name in enumerate(names)]
    if columns["score"] is not None:
        policy.report("scores", f"{path.name}: the column {names[columns['score']]}")
    found: dict[str, Described] = {}
    for line, row in table.records(named):
        name = row.get("image", "")
        if not name:
            raise table.refuse(line, "no picture is named; write its path, or remove the line.")
        item = found.setdefault(name, describe(name, path, root))
        _take_split(table, line, row, item)
        item.raw.size_wh = item.raw.size_wh or size_of(row.get("width"), row.get("height"))
        _take_object(table, line, row, item, policy)
    yield from found.values()


def _check_columns(table: tables.Table, names: list[str], columns: dict[str, int | None]) -> None:
    missing = [what for what in ("image", *_CORNERS) if columns[what] is None]
    if columns["geometry"] is not None or {*_POINT} <= {*names}:
        missing = [what for what in missing if what == "image"]
    if missing:
        what = missing[0]
        raise table.refuse(
            table.rows[0][0] if table.rows else 1,
            f"no column for {', '.join(missing)}; {what} may be called {', '.join(ALIASES[what])}. The columns are "
            f"{', '.join(names)[:200] or 'none'}.",
        )
    if columns["class"] is None:
        raise table.refuse(1, f"no column for the class; it may be called {', '.join(ALIASES['class'])}.")


def _take_split(table: tables.Table, line: int, row: dict[str, str], item: Described) -> None:
    split = row.get("split", "").lower() or None
    if item.split is not None and split is not None and split != item.split:
        raise table.refuse(line, f"{item.name} is in the split {split}, and above in {item.split}; correct one.")
    item.split = split or item.split


def _take_object(table: tables.Table, line: int, row: dict[str, str], item: Described, policy: Policy) -> None:
    def refuse(why: str) -> UserError:
        return table.refuse(line, why)

    place, corners = f"line {line}", [row.get(corner, "") for corner in _CORNERS]
    outline = row.get("geometry", "")
    if not any(corners) and not outline:
        if any(row.get(axis) for axis in _POINT):
            policy.report("no_box", f"{item.raw.where}: {place}: a point", item.name)
        return  # a negative
    area = None
    if any(corners):
        box = _corners(corners, refuse)
        if box == (0, 0, 0, 0):
            policy.report("negative_row", f"{item.raw.where}: {place}", item.name)
            return
    else:
        kind, points = _outline(outline, refuse)
        if kind == "POINT":
            policy.report("no_box", f"{item.raw.where}: {place}: a point", item.name)
            return
        if not is_upright(points[:-1]):
            action = policy.report("enclosing_box", f"{item.raw.where}: {place}: a polygon", item.name)
            if action is Action.skip_box:
                return
        box, area = enclose(points), outline_area(points) if outline.count("(") == 2 else None
    name = name_of(row.get("class", ""), "the class", refuse)
    item.raw.add(box, name, place, says(row.get("crowd")), says(row.get("difficult")), area)


def _corners(corners: list[str], refuse: Refuse) -> Box:
    x1, y1, x2, y2 = (number(value, name, refuse) for name, value in zip(_CORNERS, corners, strict=True))
    return x1, y1, x2, y2


def _outline(text: str, refuse: Refuse) -> tuple[str, list[Point]]:
    """Kind and points, the last of a polygon being its first; of several rings all."""
    start = _WKT.match(text)
    if start is None:
        raise refuse(f"geometry is {text[:60]!r}; it must be POLYGON ((x y, …)), MULTIPOLYGON or POINT (x y).")
    pairs = [pair.group().split() for pair in _NUMBERS.finditer(text, start.end())]
    points = [(number(x, "geometry", refuse), number(y, "geometry", refuse)) for x, y in pairs]
    if not points:
        raise refuse("geometry has no point.")
    return start.group(2).upper(), points
