"""COCO json: `annotations/instances_<split>.json`, and the pictures under `images/<split>/`.

Holds all that Headstart knows of a data set. `difficult` is a key of an object where it is so; pycocotools does not
read it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from headstart.data.types import AnnotatedImage, DetectionData
from headstart.data.writers.losses import Loss, Report, used_classes
from headstart.data.writers.pictures import Put, named, put_all

_BACKGROUND = ("background", "__background__", "_background_")


def write(data: DetectionData, folder: Path, report: Report, put: Put | None = None) -> None:
    """Writes `data` into the new or empty `folder`; UserError where a file cannot be read or written."""
    names = named(data, report)
    _report_losses(data, report)
    put_all(data, {split: [folder / "images" / split / name for name in names[split]] for split in names}, put or Put())
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for split, pictures in data.splits.items():
        path = folder / "annotations" / f"instances_{split}.json"
        content = _content(pictures, names[split], data.class_names)
        path.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False), encoding="utf-8")


def _content(
    pictures: Sequence[AnnotatedImage], names: Sequence[PurePosixPath], class_names: Sequence[str]
) -> dict[str, Any]:
    described, objects = [], []
    for number, (image, name) in enumerate(zip(pictures, names, strict=True), start=1):
        width, height = image.size_wh
        described.append({"id": number, "file_name": name.as_posix(), "width": width, "height": height})
        objects += [{"id": len(objects) + i, "image_id": number, **item} for i, item in enumerate(_objects(image), 1)]
    categories = [{"id": number, "name": name} for number, name in enumerate(class_names, start=1)]
    return {"info": {}, "licenses": [], "images": described, "annotations": objects, "categories": categories}


def _objects(image: AnnotatedImage) -> Iterator[dict[str, Any]]:
    rows = zip(image.boxes_xyxy.tolist(), image.labels, image.crowd, image.difficult, image.area.tolist(), strict=True)
    for (x1, y1, x2, y2), label, crowd, difficult, area in rows:
        item: dict[str, Any] = {
            "category_id": int(label) + 1,
            "bbox": [x1, y1, _length(x1, x2), _length(y1, y2)],
            "iscrowd": int(crowd),
        }
        if area > 0:  # rounded to a tenth, that of a speck is 0, which no reader takes
            item["area"] = area
        if difficult:
            item["difficult"] = 1
        yield item


def _length(start: float, end: float) -> float:
    """So that `start` plus it is `end`: in every bit where a length does so, else within 1e-12 pixels."""
    length = end - start
    near = (length, math.nextafter(length, math.inf), math.nextafter(length, 0.0))
    return next((value for value in near if start + value == end), length)


def _report_losses(data: DetectionData, report: Report) -> None:
    test = data.splits.get("test")
    if test and not any(len(image.labels) for image in test):
        report(
            Loss("test_split", len(test), "pictures of a test split without an object", "readers measure nothing there")
        )
    used = used_classes(data)
    none = [
        name
        for number, name in enumerate(data.class_names)
        if number not in used and name.strip().casefold() in _BACKGROUND
    ]
    if none:
        report(Loss("unused_class", len(none), f"class without an object called {none[0]!r}", "readers leave it out"))
