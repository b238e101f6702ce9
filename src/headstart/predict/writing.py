"""What was found, as files: COCO json, csv, YOLO text, and pictures with boxes on them; a picture at a time."""

from __future__ import annotations

import csv
import json
import os
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import PIL.Image

from headstart.config.schema import Save
from headstart.inference.found import Found
from headstart.inference.geojson import write_geojson
from headstart.inference.raster import Raster
from headstart.visible import cell, one_line


@dataclass(frozen=True)
class Entry:
    """A picture, or a frame of a video, that was looked at."""

    name: str
    """Of the file, as in `Item`; of a frame with its number: `clip.mp4/000012`."""
    found: Found
    frame: int | None = None
    """Counted from 0; None of a picture."""
    seconds: float | None = None
    """Of a frame: when it is shown."""
    shown: PIL.Image.Image | None = None
    """The picture to draw on, which may be smaller; None: nothing is drawn."""
    on_map: Raster | None = None
    """What says where on a map it lies; None: nowhere."""


Put = Callable[[Entry], None]


@dataclass
class Names:
    """A name for the files that are written of a picture; no two are alike but for suffix, letter case or accents."""

    used: set[str] = field(default_factory=set)
    given: dict[str, PurePosixPath] = field(default_factory=dict)

    def of(self, name: str) -> PurePosixPath:
        """Without a suffix: `a.jpg` and `a.png` are `a` and `a_png`."""
        if name not in self.given:
            path = PurePosixPath(name)
            plain = path.with_name(path.stem)
            tried = iter([plain, path.with_name(f"{path.stem}_{path.suffix[1:]}")])
            chosen, number = next(tried), 1
            while (key := unicodedata.normalize("NFC", chosen.as_posix()).casefold()) in self.used:
                number += 1
                chosen = next(tried, plain.with_name(f"{plain.name}_{number}"))
            self.used.add(key)
            self.given[name] = chosen
        return self.given[name]


@contextmanager
def as_coco(folder: Path, class_names: tuple[str, ...], names: Names) -> Iterator[Put]:
    """predictions.json, as pycocotools reads it; its annotations are results as well, for `loadRes`."""
    pictures: list[dict[str, object]] = []
    categories = [{"id": number, "name": name} for number, name in enumerate(class_names, 1)]
    info = {"description": "found by headstart predict"}
    with (folder / "predictions.json").open("w", encoding="utf-8") as file:
        file.write(f'{{"info": {json.dumps(info)},\n"categories": {json.dumps(categories)},\n"annotations": [')
        count = 0

        def put(entry: Entry) -> None:
            nonlocal count
            width, height = entry.found.size_wh
            picture = {"id": len(pictures) + 1, "file_name": entry.name, "width": width, "height": height}
            when = {} if entry.frame is None else {"frame": entry.frame, "seconds": entry.seconds}
            pictures.append(picture | when)
            for row in entry.found.to_coco(len(pictures)):
                count += 1
                area = round(row["bbox"][2] * row["bbox"][3], 3)
                more = {"id": count, "area": area, "iscrowd": 0}
                file.write(f"{',' if count > 1 else ''}\n{json.dumps(row | more)}")

        yield put
        file.write('],\n"images": [\n' + ",\n".join(map(json.dumps, pictures)) + "]}\n")


CSV = ("image", "frame", "seconds", "class", "score", "left", "top", "right", "bottom")


@contextmanager
def as_csv(folder: Path, class_names: tuple[str, ...], names: Names) -> Iterator[Put]:
    """predictions.csv: a line a detection, in pixels of the picture."""
    with (folder / "predictions.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(CSV)

        def put(entry: Entry) -> None:
            found, when = entry.found, ("" if entry.frame is None else entry.frame, entry.seconds)
            for name, score, box in zip(found.names, found.scores.tolist(), found.boxes_xyxy.tolist(), strict=True):
                texts = (cell(one_line(text)) for text in (entry.name, name))
                image, label = texts
                rows.writerow([image, *when, label, round(score, 5), *(round(side, 3) for side in box)])

        yield put


@contextmanager
def as_yolo(folder: Path, class_names: tuple[str, ...], names: Names) -> Iterator[Put]:
    """labels/: class, middle, sides (shares of the picture's) and score; classes.txt names the classes."""
    labels = folder / "labels"
    labels.mkdir()
    (folder / "classes.txt").write_text("".join(f"{one_line(name)}\n" for name in class_names), encoding="utf-8")

    def put(entry: Entry) -> None:
        path = made(labels / f"{names.of(entry.name)}.txt")
        path.write_text("".join(_yolo_lines(entry.found)))

    yield put


def _yolo_lines(found: Found) -> Iterator[str]:
    width, height = found.size_wh
    for label, score, box in zip(found.labels, found.scores, found.boxes_xyxy.astype(float), strict=True):
        left, top, right, bottom = box / (width, height, width, height)
        numbers = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top, score)
        yield f"{label} {' '.join(f'{number:.6f}' for number in numbers)}\n"


@contextmanager
def as_pictures(folder: Path, class_names: tuple[str, ...], names: Names) -> Iterator[Put]:
    """pictures/: JPEGs with the detections on them; frames of a video are drawn where that is read (video.py)."""
    pictures = folder / "pictures"
    pictures.mkdir()

    def put(entry: Entry) -> None:
        if entry.frame is None and entry.shown is not None:
            drawn = entry.found.draw(entry.shown)
            drawn.save(made(pictures / f"{names.of(entry.name)}.jpg"), quality=92)

    yield put


@contextmanager
def as_geojson(folder: Path, class_names: tuple[str, ...], names: Names) -> Iterator[Put]:
    """geojson/: of each picture that lies on a map, its detections in the map's coordinates."""

    def put(entry: Entry) -> None:
        if entry.on_map is not None:
            path, found = made(folder / "geojson" / f"{names.of(entry.name)}.geojson"), entry.found
            write_geojson(path, entry.on_map, found.boxes_xyxy, found.names, found.scores.tolist())

    yield put


def made(path: Path) -> Path:
    """Its folder is there."""
    os.makedirs(path.parent, exist_ok=True)
    return path


WRITERS: dict[Save, Callable[[Path, tuple[str, ...], Names], AbstractContextManager[Put]]] = {
    Save.coco: as_coco,
    Save.csv: as_csv,
    Save.yolo: as_yolo,
    Save.pictures: as_pictures,
    Save.geojson: as_geojson,
}
