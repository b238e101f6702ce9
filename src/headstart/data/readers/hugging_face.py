"""A data set of Hugging Face `datasets`: pictures with metadata.jsonl or metadata.csv, or parquet files.

A line of metadata has `file_name` and `objects` (`hugging_face_objects.py`). Categories that are numbers get their
names from the README's `class_label`, or stay numbers. Parquet files: `hugging_face_parquet.py`.
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
from headstart.data.readers import hugging_face_parquet, layout, listed, tables
from headstart.data.readers.coco_ids import number_of
from headstart.data.readers.found import Described, describe
from headstart.data.readers.hugging_face_objects import add, class_labels
from headstart.data.readers.inside import fence
from headstart.data.readers.json_files import show
from headstart.data.readers.layout import relative_name
from headstart.data.readers.raw import Malformed
from headstart.data.readers.units import Form
from headstart.data.readers.yaml_texts import Texts
from headstart.data.types import DetectionData
from headstart.errors import UserError

_FILES = ("metadata.jsonl", "metadata.csv")


def read(config: HuggingFaceConfig, policy: Policy | None = None) -> DetectionData:
    """Every split in use; UserError names the file and the line that cannot be read."""
    root = dataset_folder(config)
    files = layout.files(root, fence(root, config))
    names = _names(root)
    if _is_packed(files, config.train_file):
        return hugging_face_parquet.read(config, policy or Policy(config.on), names)

    def parse(path: Path, root: Path, policy: Policy) -> Iterator[Described]:
        return _parse(path, root, names, policy)

    what = "metadata.jsonl, metadata.csv or parquet file"
    return listed.read(config, policy, what, lambda path: path.name.lower() in _FILES, parse, Form.xywh, names.values())


def _is_packed(files: list[Path], train_file: str | None) -> bool:
    """UserError for what `save_to_disk` writes."""
    if train_file is not None:
        return train_file.lower().endswith(".parquet")
    if any(path.name.lower() in _FILES for path in files):
        return False
    suffixes = {path.suffix.lower(): path for path in files}
    if ".parquet" not in suffixes and ".arrow" in suffixes:
        raise UserError(
            f"{suffixes['.arrow']}: arrow files are not read. Write each split as parquet, which is: "
            '`datasets.load_from_disk(...)["train"].to_parquet("train.parquet")`.'
        )
    return ".parquet" in suffixes


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
    pairs = next(class_labels(content), {})
    return {key: pairs[key] for key in sorted(pairs, key=lambda key: number_of(key) or 0)}


def _parse(path: Path, root: Path, names: dict[str, str], policy: Policy) -> Iterator[Described]:
    where = relative_name(path, root)
    for line, row in _rows(path, where, policy):
        name = row.get("file_name")
        if not isinstance(name, str) or not name.strip():
            policy.report("unnamed_image", f"{where}: line {line}: file_name is {show(name)}")
            continue
        item = describe(name, path, root, hugging_face_parquet.split_of(row.get("split")))
        add(item, row.get("objects"), names, f"line {line}")
        yield item


def _rows(path: Path, where: str, policy: Policy) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, row); what is none is reported."""
    if path.suffix.lower() == ".csv":
        table = tables.load(path)
        lines = [(line, row) for line, row in table.records(table.header())]
    else:
        lines = [(line, text) for line, text in enumerate(_text(path).split("\n"), start=1) if text.strip()]
    for line, content in lines:
        try:
            if isinstance(content, dict):
                yield line, {**content, "objects": _json(content.get("objects") or "null")}
            else:
                yield line, _row(_json(content))
        except Malformed as error:
            policy.report("malformed_entry", f"{where}: line {line}: {error}")


def _text(path: Path) -> str:
    try:
        return limits.read_text(path, limits.ANNOTATIONS_BYTES, "a table of boxes")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(10) + 1
        raise Malformed(f"line {line}: not text in UTF-8; save it as that") from None


def _row(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise Malformed(f"is {show(content)}; it must have file_name and objects")
    return content


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        why = f"column {error.colno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise Malformed(f"no json ({why})") from None
