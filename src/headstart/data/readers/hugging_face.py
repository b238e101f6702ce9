"""A folder of pictures of Hugging Face `datasets`: metadata.jsonl or metadata.csv, with `file_name` and `objects`.

`objects` holds lists of equal length, `bbox` and `categories` (or `category`, `label`), or is a list of objects. A box
is x, y, width, height, as in COCO, which the documentation of `datasets` has; the units check doubts any other form.
Categories are numbers or names: numbers get their names from the README's `class_label`, or stay numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from headstart import limits
from headstart.config.checks import dataset_folder
from headstart.config.schema import HuggingFaceConfig
from headstart.data.policy import Policy
from headstart.data.readers import layout, listed, tables
from headstart.data.readers.coco_ids import number_of
from headstart.data.readers.described import Described, describe
from headstart.data.readers.geometry import Refuse, name_of, number, says
from headstart.data.readers.json_files import show
from headstart.data.readers.units import Form
from headstart.data.readers.yaml_texts import Texts
from headstart.data.types import DetectionData
from headstart.errors import UserError

_FILES = ("metadata.jsonl", "metadata.csv")
_BOXES = ("bbox", "bboxes", "boxes")
_CLASSES = ("categories", "category", "labels", "label", "category_id", "class")


def read(config: HuggingFaceConfig, policy: Policy | None = None) -> DetectionData:
    """Every split in use; UserError names the file and the line that cannot be read."""
    root = dataset_folder(config)
    files = layout.files(root)
    packed = [path for path in files if path.suffix.lower() in (".parquet", ".arrow")]
    if packed and not any(path.name in _FILES for path in files):
        raise UserError(
            f"{packed[0]}: pictures in parquet or arrow files are not read; unpack them as a folder of pictures: "
            "`datasets.load_dataset(...)`, then save each picture and a line of metadata.jsonl."
        )
    names = _names(root)

    def parse(path: Path, root: Path, policy: Policy) -> Iterator[Described]:
        return _parse(path, root, names)

    what = "metadata.jsonl or metadata.csv with file_name and objects"
    return listed.read(config, policy, what, lambda path: path.name.lower() in _FILES, parse, Form.xywh, names.values())


def _names(root: Path) -> dict[str, str]:
    """Number of a category -> its name, of the yaml above README.md; empty where it does not say."""
    path = root / "README.md"
    if path not in layout.files(root) or path.stat().st_size > limits.SETTINGS_BYTES:  # a link out of it is none
        return {}
    parts = path.read_text(encoding="utf-8", errors="replace").split("---", 2)
    try:
        content = yaml.load(parts[1], Loader=Texts) if len(parts) == 3 and not parts[0].strip() else None
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    labels = next(_class_labels(content, set()), {})
    pairs = {number: name for number, name in labels.items() if isinstance(number, str) and isinstance(name, str)}
    return {key: pairs[key] for key in sorted(pairs, key=lambda key: number_of(key) or 0)}


def _class_labels(content: Any, seen: set[int], depth: int = 0) -> Iterator[dict[Any, Any]]:
    """`seen`: what an alias stands for is looked at once."""
    below = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    if isinstance(content, dict) and isinstance(content.get("names"), dict) and depth:
        yield content["names"]
    for value in (value for value in below if depth < 20 and id(value) not in seen):
        seen.add(id(value))
        yield from _class_labels(value, seen, depth + 1)


def _parse(path: Path, root: Path, names: dict[str, str]) -> Iterator[Described]:
    for line, row in _rows(path):

        def refuse(why: str, line: int = line) -> UserError:
            return UserError(f"{path}: line {line}: {why}")

        name = row.get("file_name")
        if not isinstance(name, str) or not name.strip():
            raise refuse(f"file_name is {show(name)}; it must be the name of a picture.")
        item = describe(name, path, root, _split(row.get("split")))
        for number_, (box, category, crowd, difficult) in enumerate(_objects(row.get("objects"), refuse)):
            if not isinstance(box, list) or len(box) != 4:
                raise refuse(f"bbox[{number_}] is {show(box)}; it must be four numbers: x, y, width, height.")
            x, y, width, height = (number(value, "bbox", refuse) for value in box)
            key = name_of(category, "categories", refuse)
            place = f"line {line}: object {number_}"
            item.raw.add((x, y, x + width, y + height), names.get(key, key), place, says(crowd), says(difficult))
        yield item


def _split(value: Any) -> str | None:
    return value.strip().lower() or None if isinstance(value, str) else None


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if path.suffix.lower() == ".csv":
        table = tables.load(path)
        for line, row in table.records(table.header()):
            yield line, {**row, "objects": _json(path, line, row.get("objects") or "null")}
        return
    try:
        lines = limits.read_text(path, limits.ANNOTATIONS_BYTES, "a table of boxes").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: line {error.object[: error.start].count(10) + 1}: not text in UTF-8.") from None
    for line, text in enumerate(lines, start=1):
        if text.strip():
            row = _json(path, line, text)
            if not isinstance(row, dict):
                raise UserError(f"{path}: line {line}: is {show(row)}; it must have file_name and objects.")
            yield line, row


def _json(path: Path, line: int, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        why = f"column {error.colno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise UserError(f"{path}: line {line}: no json ({why}); export it again.") from None


def _objects(objects: Any, refuse: Refuse) -> Iterator[tuple[Any, Any, Any, Any]]:
    """(box, category, crowd, difficult) of each."""
    if objects is None:
        raise refuse("has no objects; write empty lists for a picture that shows nothing.")
    if isinstance(objects, dict):
        lists = {key: value for key, value in objects.items() if isinstance(value, list)}
        boxes, classes = (_first(lists, keys, refuse) for keys in (_BOXES, _CLASSES))
        flags = [lists.get(key, [None] * len(boxes)) for key in ("iscrowd", "difficult")]
        if {len(boxes)} != {len(some) for some in (classes, *flags)}:
            raise refuse(f"objects has {len(boxes)} boxes and {len(classes)} categories; each box needs one.")
        yield from zip(boxes, classes, *flags, strict=True)
        return
    if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
        raise refuse(f"objects is {show(objects)}; it must hold bbox and categories.")
    for one in objects:
        yield _first(one, _BOXES, refuse), _first(one, _CLASSES, refuse), one.get("iscrowd"), one.get("difficult")


def _first(values: dict[str, Any], keys: tuple[str, ...], refuse: Refuse) -> Any:
    key = next((key for key in keys if key in values), None)
    if key is None:
        raise refuse(f"objects has no {keys[0]}; it has {', '.join(values)[:100] or 'nothing'}.")
    return values[key]
