"""Label Studio's json: a list of tasks, each with a picture and the annotations of one person or more.

Rectangles are in percent of the picture, turned about their upper left corner; rotated ones, ellipses and polygons
become the box around them; key points and choices have none. Uploaded files carry a prefix (`1a2b3c4d-x.jpg`), which
the file in the folder may lack: it is matched where exactly one picture fits. Of several annotations of a task one
counts; where they differ, that is an error. Predictions are not read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from headstart.config.schema import LabelStudioConfig
from headstart.data.policy import Policy
from headstart.data.readers import json_files, layout, listed
from headstart.data.readers.found import Described, describe
from headstart.data.readers.geometry import (
    Box,
    Point,
    corners,
    ellipse,
    enclose,
    name_of,
    number,
    outline_area,
    points_of,
    rotated,
    says,
    size_of,
)
from headstart.data.readers.json_files import show
from headstart.data.readers.layout import relative_name
from headstart.data.readers.listed import AnotherFormat
from headstart.data.readers.raw import Malformed
from headstart.data.types import DetectionData

_LABELS = {"rectanglelabels": "rectangle", "polygonlabels": "polygon", "ellipselabels": "ellipse"}
_PREFIX = re.compile(r"^[0-9a-f]{8}-")
_PERCENT = 100


def read(config: LabelStudioConfig, policy: Policy | None = None) -> DetectionData:
    """Every split in use; what cannot be read is reported with file, task and result."""
    return listed.read(config, policy, "json of Label Studio", _may_be, _parse)


def _may_be(path: Path) -> bool:
    return path.suffix.lower() == ".json"


def _parse(path: Path, root: Path, policy: Policy) -> Iterator[Described]:
    tasks = json_files.read(path)
    if not isinstance(tasks, list) or not any(map(_is_task, tasks)):
        raise AnotherFormat(f"is {show(tasks)}; an export of Label Studio is a list of tasks")
    pictures = {path.name for path in layout.files(root) if layout.is_image(path)}
    for number_, task in enumerate(tasks):
        place = f"task {show(task['id'])}" if isinstance(task, dict) and "id" in task else f"task [{number_}]"
        try:
            name = _picture(task, pictures)
        except Malformed as error:
            policy.report("malformed_entry", f"{relative_name(path, root)}: {place}: {error}")
            continue
        item = describe(name, path, root, take=_take)
        try:
            results = _results(task)
            item.labelled = results is not None
            item.objects += [(f"{place}: result[{at}]", result) for at, result in enumerate(results or ())]
        except Malformed as error:
            item.faults.append(("malformed_entry", f"{place}: {error}"))
        yield item


def _is_task(task: Any) -> bool:
    known = {"annotations", "completions"}
    return isinstance(task, dict) and isinstance(task.get("data"), dict) and bool(known & {*task})


def _picture(task: Any, pictures: set[str]) -> str:
    """The path of the one value of its data that names a picture, without server and prefix."""
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(data, dict):
        raise Malformed(f"is {show(task)}; it must have data, with the picture")
    names = [_path(value) for value in data.values() if isinstance(value, str)]
    fits = [name for name in dict.fromkeys(names) if layout.is_image(Path(name)) and "\0" not in name]
    if len(fits) != 1:
        raise Malformed(f"data names {len(fits)} pictures, where one is due: {show(data)}")
    *folders, last = fits[0].split("/")
    if last in pictures or not _PREFIX.match(last) or _PREFIX.sub("", last) not in pictures:
        return fits[0]
    return "/".join([*folders, _PREFIX.sub("", last)])


def _path(url: str) -> str:
    """`/data/local-files/?d=a/b.jpg`, `/data/upload/1/b.jpg`, `s3://bucket/b.jpg`, or a path."""
    try:
        parts = urlsplit(url)
        if "d" in parse_qs(parts.query):
            return parse_qs(parts.query)["d"][0]
    except ValueError:
        return url
    return unquote(parts.path).lstrip("/") if parts.scheme or url.startswith("/data/") else url


def _results(task: dict[str, Any]) -> list[Any] | None:
    """Of the one annotation that counts; None where the task was skipped, or not done yet."""
    given = task.get("annotations", task.get("completions"))
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise Malformed(f"annotations is {show(given)}; it must be a list of annotations")
    done = [one.get("result") for one in given if not says(one.get("was_cancelled"))]
    if not all(isinstance(result, list) for result in done):
        raise Malformed("an annotation has no list `result`")
    whole = [result for result in done if isinstance(result, list)]
    if any(_values(result) != _values(whole[0]) for result in whole[1:]):
        raise Malformed(f"has {len(whole)} annotations that differ; keep one of them in Label Studio and export again")
    return whole[0] if whole else None


def _values(result: list[Any]) -> list[str]:
    return sorted(repr(item.get("value")) if isinstance(item, dict) else repr(item) for item in result)


def _take(item: Described, place: str, result: Any, policy: Policy) -> None:
    value = result.get("value") if isinstance(result, dict) else None
    if not isinstance(value, dict):
        raise Malformed(f"is {show(result)}; it must have a value")
    if result.get("type") == "relation":
        return
    kind = next((kind for key, kind in _LABELS.items() if key in value), None)
    said = f"a {show(result.get('type'))}"
    if kind is None:
        item.report("no_box", place, said, policy)
        return
    size = size_of(result.get("original_width"), result.get("original_height"))
    if size is None or min(size) < 1:
        raise Malformed("original_width and original_height, the picture's size, are missing; export it again as JSON")
    item.raw.size_wh = item.raw.size_wh or size
    box, upright, area = _outline(value, kind, size)
    if not upright and item.drops("enclosing_box", place, said, policy):
        return
    key = next(key for key, other in _LABELS.items() if other == kind)
    item.raw.add(box, _label(value[key], key), place, area=area)


def _label(names: Any, key: str) -> str:
    if not isinstance(names, list) or len(names) != 1:
        raise Malformed(f"{key} is {show(names)}; it must be a list of one class")
    return name_of(names[0], key)


def _outline(value: dict[str, Any], kind: str, size: tuple[int, int]) -> tuple[Box, bool, float | None]:
    """(box in pixels, whether it is the object itself, area of the outline)."""
    width, height = size

    def get(name: str, whole: int) -> float:
        return number(value.get(name), name) * whole / _PERCENT

    if kind == "polygon":
        points: list[Point] = points_of(value.get("points"), "points")
        points = [(x * width / _PERCENT, y * height / _PERCENT) for x, y in points]
        return enclose(points), False, outline_area(points)
    turn = number(value.get("rotation", 0), "rotation")
    x, y = get("x", width), get("y", height)
    if kind == "ellipse":
        radii = get("radiusX", width), get("radiusY", height)
        return ellipse((x, y), *radii, math.radians(turn)), False, None
    box = (x, y, x + get("width", width), y + get("height", height))
    if turn == 0:
        return box, True, None
    points = rotated(corners(box), turn, (x, y))
    return enclose(points), False, outline_area(points)
