"""A small sound data set of each format, for a case to break: ten pictures, a box each, two classes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

SIZE_WH = (64, 48)
BOX = (10, 8, 40, 36)
"""xyxy of every object."""
NAMES = ("cat", "dog")
SPLIT_OF = ["train"] * 7 + ["val"] * 3


def name_of(number: int) -> str:
    """Of picture `number`."""
    return f"p{number}"


def class_of(number: int) -> str:
    return NAMES[number % 2]


def picture(number: int, size_wh: tuple[int, int] = SIZE_WH) -> PIL.Image.Image:
    """Noise: no two are alike."""
    draw = np.random.default_rng(number)
    coarse = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return PIL.Image.fromarray(coarse).resize(size_wh, PIL.Image.Resampling.BICUBIC)


def image_path(root: Path, number: int) -> Path:
    return root / "images" / SPLIT_OF[number] / f"{name_of(number)}.png"


def draw_pictures(root: Path) -> None:
    for number in range(len(SPLIT_OF)):
        path = image_path(root, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(path)


# ----------------------------------------------------------------------------------------------------- VOC

OBJECT = (
    "<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax>"
    "<ymax>{3}</ymax></bndbox></object>"
)


def xml_path(root: Path, number: int) -> Path:
    return root / "Annotations" / SPLIT_OF[number] / f"{name_of(number)}.xml"


def xml(number: int, *objects: str, size_wh: tuple[int, int] = SIZE_WH, filename: str | None = None) -> str:
    inside = "".join(objects or (xml_object(),))
    return (
        f"<annotation><filename>{filename or name_of(number) + '.png'}</filename><size><width>{size_wh[0]}</width>"
        f"<height>{size_wh[1]}</height><depth>3</depth></size>{inside}</annotation>"
    )


def xml_object(box: tuple[Any, ...] = BOX, name: str = "cat") -> str:
    return OBJECT.format(*box, name=name)


def draw_voc(root: Path) -> None:
    draw_pictures(root)
    for number in range(len(SPLIT_OF)):
        path = xml_path(root, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(xml(number, xml_object(name=class_of(number))))


# ---------------------------------------------------------------------------------------------------- COCO


def json_path(root: Path, split: str) -> Path:
    return root / "annotations" / f"instances_{split}.json"


def coco(split: str) -> dict[str, Any]:
    """The parsed json; ids are the pictures' numbers, from 1."""
    numbers = [number for number, its in enumerate(SPLIT_OF) if its == split]
    left, top, right, bottom = BOX
    return {
        "images": [
            {"id": n + 1, "file_name": f"{name_of(n)}.png", "width": SIZE_WH[0], "height": SIZE_WH[1]} for n in numbers
        ],
        "annotations": [
            {
                "id": n + 1,
                "image_id": n + 1,
                "category_id": n % 2 + 1,
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top),
                "iscrowd": 0,
            }
            for n in numbers
        ],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(NAMES)],
    }


def write_coco(root: Path, split: str, content: dict[str, Any]) -> None:
    path = json_path(root, split)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def draw_coco(root: Path) -> None:
    draw_pictures(root)
    for split in ("train", "val"):
        write_coco(root, split, coco(split))


# ---------------------------------------------------------------------------------------------------- YOLO


def txt_path(root: Path, number: int) -> Path:
    return root / "labels" / SPLIT_OF[number] / f"{name_of(number)}.txt"


def txt(box_xyxy: tuple[float, float, float, float] = BOX, label: int | str = 0) -> str:
    """A line: class, centre and size as shares."""
    width, height = SIZE_WH
    left, top, right, bottom = box_xyxy
    shares = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height)
    return f"{label} {' '.join(f'{share:.6f}' for share in shares)}\n"


def draw_yolo(root: Path) -> None:
    draw_pictures(root)
    for number in range(len(SPLIT_OF)):
        path = txt_path(root, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(txt(label=number % 2))
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnc: 2\nnames: [cat, dog]\n")


# ------------------------------------------------------------------------------------------------ Hugging Face


def parquet_path(root: Path, split: str) -> Path:
    return root / "data" / f"{split}-00000-of-00001.parquet"


def rows(split: str) -> list[dict[str, Any]]:
    """As Python has the rows of a split."""
    left, top, right, bottom = BOX
    found = []
    for number in (number for number, its in enumerate(SPLIT_OF) if its == split):
        file = io.BytesIO()
        picture(number).save(file, "PNG")
        objects = {"bbox": [[left, top, right - left, bottom - top]], "category": [class_of(number)]}
        found.append({"image": {"bytes": file.getvalue(), "path": None}, "objects": objects})
    return found


def write_rows(root: Path, split: str, found: list[dict[str, Any]]) -> None:
    import pyarrow
    import pyarrow.parquet

    parquet_path(root, split).parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(found), parquet_path(root, split))


def draw_parquet(root: Path) -> None:
    for split in ("train", "val"):
        write_rows(root, split, rows(split))


# ----------------------------------------------------------------------------------------------------- csv

CSV_HEAD = "image,xmin,ymin,xmax,ymax,label"


def csv_path(root: Path, split: str) -> Path:
    return root / f"{split}.csv"


def csv_row(number: int, box: tuple[Any, ...] = BOX) -> str:
    return ",".join(map(str, (f"{name_of(number)}.png", *box, class_of(number))))


def draw_csv(root: Path) -> None:
    draw_pictures(root)
    for split in ("train", "val"):
        rows = [csv_row(number) for number, its in enumerate(SPLIT_OF) if its == split]
        csv_path(root, split).write_text("\n".join([CSV_HEAD, *rows, ""]))


DRAW = {"voc": draw_voc, "coco": draw_coco, "yolo": draw_yolo, "csv": draw_csv, "hugging_face": draw_parquet}
