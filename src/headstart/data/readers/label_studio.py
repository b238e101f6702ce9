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

from headstart.config.kinds import Action
from headstart.config.schema import LabelStudioConfig
from headstart.data.policy import Policy
from headstart.data.readers import layout, listed
from headstart.data.readers.described import Described, describe
from headstart.data.readers.geometry import (
    Box,
    Point,
    Refuse,
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
from headstart.data.readers.json_files import load, show
from headstart.data.types import DetectionData
from headstart.errors import UserError

_LABELS = {"rectanglelabels": "rectangle", "polygonlabels": "polygon", "ellipselabels": "ellipse"}
_PREFIX = re.compile(r"^[0-9a-f]{8}-")
_PERCENT = 100


def read(config: LabelStudioConfig, policy: Policy | None = None) -> DetectionData:
    """Every split in use; UserError names the file, the task and the result that cannot be read."""
    return listed.read(config, policy, "json of Label Studio", _is_one, _parse)


def is_label_studio(content: Any) -> bool:
    first = content[0] if isinstance(content, list) and content else None
    return (
        isinstance(first, dict)
        and isinstance(first.get("data"), dict)
        and bool({"annotations", "completions"} & {*first})
    )


def _is_one(path: Path) -> bool:
    return path.suffix.lower() == ".json" and is_label_studio(load(path))


def _parse(path: Path, root: Path, policy: Policy) -> Iterator[Described]:
    tasks = load(path)
    if not isinstance(tasks, list):
        raise UserError(f"{path}: is {show(tasks)}; an export of Label Studio is a list of tasks.")
    pictures = {path.name for path in layout.files(root) if layout.is_image(path)}
    for number_, task in enumerate(tasks):
        place = f"task {show(task['id'])}" if isinstance(task, dict) and "id" in task else f"task [{number_}]"

        def refuse(why: str, place: str = place) -> UserError:
            return UserError(f"{path}: {place}: {why}")

        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            raise refuse(f"is {show(task)}; it must have data, with the picture.")
        item = describe(_picture(task["data"], pictures, refuse), path, root)
        results = _results(task, refuse)
        item.labelled = results is not None
        for at, result in enumerate(results or ()):
            _take(item, f"{place}: result[{at}]", result, policy)
        yield item


def _picture(data: dict[str, Any], pictures: set[str], refuse: Refuse) -> str:
    """The path of the one value that names a picture, without server and prefix."""
    names = [_path(value) for value in data.values() if isinstance(value, str)]
    fits = [name for name in dict.fromkeys(names) if layout.is_image(Path(name)) and "\0" not in name]
    if len(fits) != 1:
        raise refuse(f"data names {len(fits)} pictures, where one is due: {show(data)}.")
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


def _results(task: dict[str, Any], refuse: Refuse) -> list[Any] | None:
    """Of the one annotation that counts; None where the task was skipped, or not done yet."""
    given = task.get("annotations", task.get("completions"))
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise refuse(f"annotations is {show(given)}; it must be a list of annotations.")
    done = [one.get("result") for one in given if not says(one.get("was_cancelled"))]
    if not all(isinstance(result, list) for result in done):
        raise refuse("an annotation has no list `result`.")
    whole = [result for result in done if isinstance(result, list)]
    if any(_values(result) != _values(whole[0]) for result in whole[1:]):
        raise refuse(f"has {len(whole)} annotations that differ; keep one of them in Label Studio and export again.")
    return whole[0] if whole else None


def _values(result: list[Any]) -> list[str]:
    return sorted(repr(item.get("value")) if isinstance(item, dict) else repr(item) for item in result)


def _take(item: Described, place: str, result: Any, policy: Policy) -> None:
    def refuse(why: str) -> UserError:
        return UserError(f"{item.file}: {place}: {why}")

    value = result.get("value") if isinstance(result, dict) else None
    if not isinstance(value, dict):
        raise refuse(f"is {show(result)}; it must have a value.")
    if result.get("type") == "relation":
        return
    kind = next((kind for key, kind in _LABELS.items() if key in value), None)
    where = f"{item.raw.where}: {place}: {show(result.get('type'))}"
    if kind is None:
        policy.report("no_box", where, item.name)
        return
    size = size_of(result.get("original_width"), result.get("original_height"))
    if size is None or min(size) < 1:
        raise refuse("original_width and original_height, the picture's size, are missing; export it again as JSON.")
    item.raw.size_wh = item.raw.size_wh or size
    box, upright, area = _outline(value, kind, size, refuse)
    if not upright and policy.report("enclosing_box", where, item.name) is Action.skip_box:
        return
    key = next(key for key, other in _LABELS.items() if other == kind)
    item.raw.add(box, _label(value[key], key, refuse), place, area=area)


def _label(names: Any, key: str, refuse: Refuse) -> str:
    if not isinstance(names, list) or len(names) != 1:
        raise refuse(f"{key} is {show(names)}; it must be a list of one class.")
    return name_of(names[0], key, refuse)


def _outline(value: dict[str, Any], kind: str, size: tuple[int, int], refuse: Refuse) -> tuple[Box, bool, float | None]:
    """(box in pixels, whether it is the object itself, area of the outline)."""
    width, height = size

    def get(name: str, whole: int) -> float:
        return number(value.get(name), name, refuse) * whole / _PERCENT

    if kind == "polygon":
        points: list[Point] = points_of(value.get("points"), "points", refuse)
        points = [(x * width / _PERCENT, y * height / _PERCENT) for x, y in points]
        return enclose(points), False, outline_area(points)
    turn = number(value.get("rotation", 0), "rotation", refuse)
    x, y = get("x", width), get("y", height)
    if kind == "ellipse":
        radii = get("radiusX", width), get("radiusY", height)
        return ellipse((x, y), *radii, math.radians(turn)), False, None
    box = (x, y, x + get("width", width), y + get("height", height))
    if turn == 0:
        return box, True, None
    points = rotated(corners(box), turn, (x, y))
    return enclose(points), False, outline_area(points)
