"""Which format a folder looks like, for whoever asked for another one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from headstart.config.schemas import SCHEMAS

_HEAD_BYTES = 4096
_MARKS: dict[str, tuple[tuple[str, bytes], ...]] = {
    "labelme_folder": ((".json", b'"shapes"'),),
    "via_folder": ((".json", b'"_via_'), (".json", b'"region_attributes"'), (".csv", b"region_shape_attributes")),
    "label_studio_folder": ((".json", b'"completions"'), (".json", b'"was_cancelled"'), (".json", b'"completed_by"')),
    "cvat_folder": ((".xml", b"<annotations"),),
    "coco_folder": ((".json", b'"images"'), (".json", b'"categories"')),
    "voc_folder": ((".xml", b"<annotation>"),),
    "dota_folder": ((".txt", b"imagesource:"),),
    "open_images_folder": ((".csv", b"ImageID,"),),
    "hugging_face_folder": ((".jsonl", b'"file_name"'),),
    "csv_folder": ((".csv", b"xmin"), (".csv", b"x_min"), (".csv", b"x1")),
    "yolo_folder": ((".yaml", b"names:"), (".data", b"names"), (".txt", rb"\A\d+( [\d.]+){4}\s")),
}
"""Choice of `dataset` -> what stands at the start of its files, by their suffix: a pattern."""


_SUFFIXES = {suffix for marks in _MARKS.values() for suffix, _ in marks}


def hint(paths: Iterable[Path], config: type) -> str:
    """What the files look like, and the choice that reads it; empty where they look like nothing else than `config`."""
    asked = next((f"{name}_folder" for name, kind in SCHEMAS["dataset"].items() if kind is config), "")
    for path in [path for path in paths if path.suffix.lower() in _SUFFIXES][:20]:
        try:
            with path.open("rb") as file:
                head = file.read(_HEAD_BYTES)
        except OSError:
            continue
        for choice, marks in _MARKS.items():
            if choice != asked and any(
                path.suffix.lower() == suffix and re.search(mark, head) for suffix, mark in marks
            ):
                return f" {path.name} looks like another format: dataset={choice}."
    return ""
