"""YOLO txt: `images/<split>/`, `labels/<split>/` and a data.yaml; shares of width and height, in as many digits
as a double has: boxes come back within 1e-9 pixels.

Cannot hold: crowds, difficult objects, areas of outlines. Nor a picture's size: a camera's picture is turned upright by
whoever reads it, so that boxes which refer to the pixels as stored are turned as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from headstart.config.schema import Ignored
from headstart.data import images
from headstart.data.images import FileImage
from headstart.data.readers.mend import MIN_SIDE
from headstart.data.types import AnnotatedImage, DetectionData
from headstart.data.writers.losses import Loss, Report, of_area, of_crowd, of_difficult
from headstart.data.writers.pictures import Put, named, put_all
from headstart.errors import UserError


def write(
    data: DetectionData, folder: Path, report: Report, put: Put | None = None, ignored: Ignored = Ignored.keep
) -> None:
    """Writes `data` into the new or empty `folder`; UserError where a file cannot be read or written, or where
    `ignored` leaves nothing of a split."""
    data = _without_ignored(data, ignored, report)
    names = named(data, report)
    of_area(data, report)
    put_all(data, {split: [folder / "images" / split / name for name in names[split]] for split in names}, put or Put())
    turned = 0
    for split, pictures in data.splits.items():
        for image, name in zip(pictures, names[split], strict=True):
            boxes, size_wh, is_turned = _upright(image)
            turned += is_turned
            _write_label(folder / "labels" / split / name.with_suffix(".txt"), image.labels, boxes, size_wh)
    if turned:
        report(Loss("turned", turned, "pictures with boxes in pixels as stored", "boxes turned upright, as viewers do"))
    (folder / "data.yaml").write_text(_data_yaml(data), encoding="utf-8")


def _write_label(path: Path, labels: np.ndarray, boxes_xyxy: np.ndarray, size_wh: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size_wh
    lines = []
    for label, (x1, y1, x2, y2) in zip(labels.tolist(), boxes_xyxy.tolist(), strict=True):
        (x, w), (y, h) = _shares(x1, x2, width), _shares(y1, y2, height)
        lines.append(f"{label} {x!r} {y!r} {w!r} {h!r}\n")
    path.write_text("".join(lines), encoding="utf-8")


def _shares(start: float, end: float, size: int) -> tuple[float, float]:
    """(centre, length); what is just long enough to be a box stays so in the last bits."""
    centre, length = (start + end) / 2 / size, (end - start) / size
    while (centre + length / 2) * size - (centre - length / 2) * size < MIN_SIDE <= end - start:
        length += 1e-12
    return centre, length


def _data_yaml(data: DetectionData) -> str:
    """Names in quotes: without, `no` and `010` are no texts to most readers."""
    places = [f"{split}: images/{split}\n" for split in data.splits]
    names = [f"  {number}: {_in_quotes(name)}\n" for number, name in enumerate(data.class_names)]
    return "".join([*places, f"nc: {len(names)}\nnames:\n", *names])


def _in_quotes(text: str) -> str:
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf")).strip()


def _upright(image: AnnotatedImage) -> tuple[np.ndarray, tuple[int, int], bool]:
    """(boxes, size of the picture as a viewer shows it, whether that is another one)."""
    if not isinstance(image.read, FileImage) or image.read.orientation != 1:
        return image.boxes_xyxy, image.size_wh, False
    orientation = images.header(image.read.path).orientation
    size_wh = images.upright_size(image.size_wh, orientation)
    return _turn(image.boxes_xyxy, image.size_wh, orientation), size_wh, orientation != 1


def _turn(boxes_xyxy: np.ndarray, size_wh: tuple[int, int], orientation: int) -> np.ndarray:
    """Where the boxes are in the picture turned by the EXIF value (TIFF 6.0, tag 274)."""
    width, height = size_wh
    x1, y1, x2, y2 = boxes_xyxy.T
    left, right = width - x2, width - x1
    top, bottom = height - y2, height - y1
    turned = {
        2: (left, y1, right, y2),
        3: (left, top, right, bottom),
        4: (x1, top, x2, bottom),
        5: (y1, x1, y2, x2),
        6: (top, x1, bottom, x2),
        7: (top, left, bottom, right),
        8: (y1, left, y2, right),
    }
    return np.stack(turned.get(orientation, (x1, y1, x2, y2)), axis=1)


_INSTEAD = {
    Ignored.keep: "written as ordinary ones, to be learnt and found",
    Ignored.drop: "left out: what they show is background now",
    Ignored.skip_image: "left out with their pictures",
}


def _without_ignored(data: DetectionData, ignored: Ignored, report: Report) -> DetectionData:
    of_crowd(data, _INSTEAD[ignored], report)
    of_difficult(data, _INSTEAD[ignored], report)
    if ignored is Ignored.keep:
        return data
    pick = _drop if ignored is Ignored.drop else _skip
    kept = {split: pick(pictures) for split, pictures in data.splits.items()}
    for split, pictures in kept.items():
        if not pictures:
            raise UserError(f"ignored={ignored.value}: no picture of the split {split} is left; every one has some.")
    skipped = sum(map(len, data.splits.values())) - sum(map(len, kept.values()))
    if skipped:
        report(Loss("picture", skipped, "pictures with such objects", "left out"))
    return replace(data, splits=kept)


def _skip(pictures: Sequence[AnnotatedImage]) -> list[AnnotatedImage]:
    return [image for image in pictures if not image.ignore.any()]


def _drop(pictures: Sequence[AnnotatedImage]) -> list[AnnotatedImage]:
    return [_learnt(image) if image.ignore.any() else image for image in pictures]


def _learnt(image: AnnotatedImage) -> AnnotatedImage:
    rows = ("boxes_xyxy", "labels", "crowd", "difficult", "area")
    return replace(image, **{name: getattr(image, name)[~image.ignore] for name in rows})
