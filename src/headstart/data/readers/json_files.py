"""A json file: what it holds, where it is broken, and what it looks like where it is not what was looked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headstart import limits
from headstart.data.readers import json_stream
from headstart.data.readers.raw import Malformed
from headstart.errors import UserError

_LIKE = {
    "shapes": "labelme's file of one image: dataset=labelme_folder",
    "_via_img_metadata": "a project of VIA: dataset=via_folder",
    "_via_settings": "a project of VIA: dataset=via_folder",
    "features": "GeoJSON",
    "items": "Datumaro's own format",
    "objects": "Supervisely's file of one image",
}
"""A key -> who writes it."""


def load(path: Path) -> Any:
    """What the file holds, whatever it is; UserError with line and column where it is no JSON."""
    try:
        return read(path)
    except Malformed as error:
        raise UserError(f"{path}: {error}; export it again.") from error


def read(path: Path) -> Any:
    """As `load`, but for `Malformed` in place of UserError: one of many files, which are refused together."""
    try:
        content = limits.read_bytes(path, limits.ANNOTATIONS_BYTES, "a json")
        return json.loads(content, object_pairs_hook=json_stream.once_each)
    except json.JSONDecodeError as error:
        empty = "the file is empty" if not error.doc.strip() else error.msg
        why = f"line {error.lineno}, column {error.colno}: {empty}"
    except UnicodeDecodeError as error:
        why = f"line {error.object[: error.start].count(10) + 1}: not text in UTF-8"
    except RecursionError:
        why = "its brackets are nested too deep"
    except MemoryError:
        why = "it does not fit into memory"
    except ValueError as error:  # a number of thousands of digits, a key that stands twice
        why = str(error)
    raise Malformed(f"not a readable json file ({why})")


def looks_like(content: Any) -> str:
    """What a json is that is no COCO, as far as can be seen."""
    if isinstance(content, list):
        first = content[0] if content and isinstance(content[0], dict) else {}
        if "score" in first and "image_id" in first:
            return "it looks like detections, not annotations"
        if "annotations" in first and "image" in first:
            return "it looks like CreateML"
        if "annotations" in first or "completions" in first:
            return "it looks like tasks of Label Studio: dataset=label_studio_folder"
        return f"it is a list of {len(content)}"
    if not isinstance(content, dict):
        return f"it is {show(content)}"
    if any(isinstance(value, dict) and "regions" in value for value in content.values()):
        return "it looks like VIA: dataset=via_folder"
    like = next((f"; it looks like {what}" for key, what in _LIKE.items() if key in content), "")
    keys = ", ".join(list(content)[:6]) or "nothing"
    return f"it holds {keys if len(keys) < 200 else keys[:200] + '…'}{like}"


def load_parts(path: Path, keep: Callable[[str], json_stream.Items]) -> Any:
    """As `load`, and where it holds an object, of each of its lists what `keep(key)` gave and was given the items."""
    if not path.is_file() or path.stat().st_size > limits.ANNOTATIONS_BYTES:
        return load(path)  # says so
    try:
        return json_stream.load(path, keep)
    except (ValueError, RecursionError):
        return load(path)


def show(value: Any) -> str:
    """For messages: as JSON has it, not longer than a line."""
    try:
        text = (
            str(value)
            if type(value) is int
            else json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
        )
    except RecursionError:
        text = "a list in a list, and so on"
    return text if len(text) <= 60 else f"{text[:57]}…"
