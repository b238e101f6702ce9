"""Outlines to boxes, and numbers out of values of any type."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from headstart.data.readers.coco_ids import number_of
from headstart.data.readers.json_files import show
from headstart.data.readers.raw import Malformed

Box = tuple[float, float, float, float]
Point = tuple[float, float]
Refuse = Callable[[str], Exception]
"""Of what is wrong, the error to raise: where the reader names the place, `Malformed`."""


def enclose(points: Sequence[Point]) -> Box:
    """The upright box around one point or more."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def outline_area(points: Sequence[Point]) -> float | None:
    """Square units (the shoelace formula); None where it is none."""
    pairs = zip(points, [*points[1:], *points[:1]], strict=True)
    area = abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs)) / 2
    return area if math.isfinite(area) and area > 0 else None


def is_upright(points: Sequence[Point]) -> bool:
    """Whether four points are the corners of an upright rectangle, in their order."""
    if len(points) != 4:
        return False
    x1, y1, x2, y2 = enclose(points)
    corners = {(x1, y1), (x2, y1), (x2, y2), (x1, y2)}
    sides = zip(points, [*points[1:], *points[:1]], strict=True)
    along = all(ax == bx or ay == by for (ax, ay), (bx, by) in sides)
    return set(points) == corners and along


def rotated(points: Sequence[Point], degrees: float, about: Point) -> list[Point]:
    """Clockwise as seen: y points down."""
    if not math.isfinite(degrees):
        return [(math.nan, math.nan)] * len(points)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    cx, cy = about
    return [(cx + (x - cx) * cos - (y - cy) * sin, cy + (x - cx) * sin + (y - cy) * cos) for x, y in points]


def corners(box: Box) -> list[Point]:
    x1, y1, x2, y2 = box
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def ellipse(center: Point, rx: float, ry: float, radians: float) -> Box:
    """The box around one that was turned: half a side is sqrt((rx cos)² + (ry sin)²), and likewise."""
    if not math.isfinite(radians):
        return math.nan, math.nan, math.nan, math.nan
    x, y = center
    half_x = math.hypot(rx * math.cos(radians), ry * math.sin(radians))
    half_y = math.hypot(rx * math.sin(radians), ry * math.cos(radians))
    return x - half_x, y - half_y, x + half_x, y + half_y


def number(value: Any, what: str, refuse: Refuse = Malformed) -> float:
    """Also of text; not-a-number and infinity pass, to be counted as boxes without area."""
    found = number_of(value)
    if found is None and str(value).strip().lower().lstrip("+-") in ("nan", "inf", "infinity"):
        return math.nan
    if found is None:
        raise refuse(f"{what} is {show(value)}; it must be a number")
    return found


def points_of(value: Any, what: str) -> list[Point]:
    """A list of pairs of numbers."""
    if not isinstance(value, list) or not value:
        raise Malformed(f"{what} is {show(value)}; it must be a list of points, x and y each")
    found = []
    for place, point in enumerate(value):
        if not isinstance(point, list) or len(point) < 2:
            raise Malformed(f"{what}[{place}] is {show(point)}; it must be x and y")
        found.append((number(point[0], f"{what}[{place}]"), number(point[1], f"{what}[{place}]")))
    return found


def name_of(value: Any, what: str, refuse: Refuse = Malformed) -> str:
    """Of a class: text that says something, or a number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    text = value.strip() if isinstance(value, str) else ""
    if not text or "\0" in text or text.encode("utf-8", "replace").decode() != text:
        raise refuse(f"{what} is {show(value)}; it must be the name of a class")
    return text


_YES = ("1", "1.0", "true", "yes")


def says(value: Any) -> bool:
    """Of a flag, written in one of the usual ways."""
    return str(value).strip().casefold() in _YES


def size_of(width: Any, height: Any) -> tuple[int, int] | None:
    """None where the file does not say; what it says is compared with the picture's."""
    one, two = number_of(width), number_of(height)
    return None if one is None or two is None or max(one, two) > 1e9 else (int(one), int(two))
