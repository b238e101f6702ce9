"""The same boxes in each format, written by code of the tests' own; and those of a data set that was read."""

import csv
import json
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from headstart.data.types import DetectionData

SIZE = (64, 48)
BOXES: dict[str, list[tuple[str, tuple[float, float, float, float]]]] = {
    "a": [("cat", (8, 12, 32, 36)), ("dog", (0, 0, 16, 24))],
    "b": [("cat", (16, 6, 48, 42))],
    "c": [],
    "d": [("dog", (32, 12, 64, 48))],
    "e": [("cat", (1, 2, 20, 30)), ("cat", (24, 3, 40, 9))],
}
"""Picture -> class and corners in pixels."""


def csv_boxes(root: Path) -> None:
    rows = [
        [f"{stem}.png", y2, x1, label, y1, x2] for stem, items in BOXES.items() for label, (x1, y1, x2, y2) in items
    ]
    rows += [[f"{stem}.png", "", "", "", "", ""] for stem, items in BOXES.items() if not items]
    _table(root / "boxes.csv", [["Filename", "ymax", "xmin", "cell_type", "ymin", "xmax"], *rows])


def plain_csv(root: Path) -> None:
    rows = [[f"{stem}.png", *box, label] for stem, items in BOXES.items() for label, box in items]
    _table(root / "boxes.csv", rows + [[f"{stem}.png", "", "", "", "", ""] for stem in BOXES if not BOXES[stem]])


def labelme(root: Path) -> None:
    for stem, items in BOXES.items():
        shapes = [
            {"label": label, "points": [[x2, y1], [x1, y2]], "shape_type": "rectangle", "group_id": None, "flags": {}}
            for label, (x1, y1, x2, y2) in items
        ]
        said = {"shapes": shapes, "imagePath": f"{stem}.png", "imageData": None, "imageWidth": 64, "imageHeight": 48}
        (root / f"{stem}.json").write_text(json.dumps(said))


def dota(root: Path) -> None:
    (root / "labelTxt").mkdir()
    for stem, items in BOXES.items():
        lines = [f"{x1} {y1} {x2} {y1} {x2} {y2} {x1} {y2} {label} 0" for label, (x1, y1, x2, y2) in items]
        (root / "labelTxt" / f"{stem}.txt").write_text("\n".join(["imagesource:GoogleEarth", "gsd:0.1", *lines]))


def _via(items: list) -> list[tuple[dict, dict]]:
    return [
        ({"name": "rect", "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}, {"kind": label})
        for label, (x1, y1, x2, y2) in items
    ]


def via_project(root: Path) -> None:
    pictures = {
        f"{stem}.png123": {
            "filename": f"{stem}.png",
            "size": 123,
            "regions": [{"shape_attributes": shape, "region_attributes": said} for shape, said in _via(items)],
            "file_attributes": {},
        }
        for stem, items in BOXES.items()
    }
    (root / "via.json").write_text(json.dumps({"_via_settings": {}, "_via_img_metadata": pictures}))


def via_csv(root: Path) -> None:
    names = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    rows = [
        [f"{stem}.png", 1, "{}", len(items), number, json.dumps(shape), json.dumps(said)]
        for stem, items in BOXES.items()
        for number, (shape, said) in enumerate(_via(items) or [({}, {})])
    ]
    _table(root / "via.csv", [names.split(","), *rows])


def cvat(root: Path) -> None:
    images = "".join(
        f'<image id="{number}" name={quoteattr(stem + ".png")} width="64" height="48">'
        + "".join(
            f'<box label="{label}" occluded="0" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}" z_order="0"></box>'
            for label, (x1, y1, x2, y2) in items
        )
        + "</image>"
        for number, (stem, items) in enumerate(BOXES.items())
    )
    (root / "annotations.xml").write_text(f"<annotations><version>1.1</version>{images}</annotations>")


def label_studio(root: Path) -> None:
    def result(label: str, box: tuple[float, float, float, float]) -> dict:
        x1, y1, x2, y2 = (100 * value / side for value, side in zip(box, SIZE * 2, strict=True))
        value = {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "rotation": 0, "rectanglelabels": [label]}
        return {"type": "rectanglelabels", "value": value, "original_width": 64, "original_height": 48}

    tasks = [
        {
            "id": number,
            "data": {"image": f"/data/upload/1/1a2b3c4d-{stem}.png"},
            "annotations": [{"result": [result(*item) for item in items], "was_cancelled": False}],
        }
        for number, (stem, items) in enumerate(BOXES.items())
    ]
    (root / "tasks.json").write_text(json.dumps(tasks))


def open_images(root: Path) -> None:
    """Of a negative it says nothing: it is left out."""
    ids = {"cat": "/m/01yrx", "dog": "/m/0bt9lr"}
    header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf"
    rows = [
        [stem, "xclick", ids[label], 1, x1 / 64, x2 / 64, y1 / 48, y2 / 48, 0, 0, 0]
        for stem, items in BOXES.items()
        for label, (x1, y1, x2, y2) in items
    ]
    _table(root / "annotations-bbox.csv", [header.split(","), *rows])
    _table(root / "class-descriptions-boxable.csv", [[number, name] for name, number in ids.items()])


def hugging_face(root: Path) -> None:
    lines = [
        json.dumps(
            {
                "file_name": f"{stem}.png",
                "objects": {
                    "bbox": [[x1, y1, x2 - x1, y2 - y1] for _, (x1, y1, x2, y2) in items],
                    "categories": [int(label == "dog") for label, _ in items],
                },
            }
        )
        for stem, items in BOXES.items()
    ]
    (root / "metadata.jsonl").write_text("\n".join(lines))
    names = "            names:\n              '0': cat\n              '1': dog\n"
    (root / "README.md").write_text(
        f"---\ndataset_info:\n  features:\n  - name: x\n    dtype:\n          class_label:\n{names}---\nPets\n"
    )


def _table(path: Path, rows: list[list]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


FORMATS = {
    "csv": (csv_boxes, "csv"),
    "plain csv": (plain_csv, "csv"),
    "labelme": (labelme, "labelme"),
    "dota": (dota, "dota"),
    "via project": (via_project, "via"),
    "via csv": (via_csv, "via"),
    "cvat": (cvat, "cvat"),
    "label studio": (label_studio, "label_studio"),
    "open images": (open_images, "open_images"),
    "hugging face": (hugging_face, "hugging_face"),
}
"""Name -> writer, and the name of the format's dataclass in `SCHEMAS`."""


def voc(root: Path) -> None:
    for stem, items in BOXES.items():
        objects = "".join(
            f"<object><name>{label}</name><difficult>0</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
            f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for label, (x1, y1, x2, y2) in items
        )
        size = "<size><width>64</width><height>48</height><depth>3</depth></size>"
        said = f"<annotation><filename>{stem}.png</filename>{size}{objects}</annotation>"
        (root / f"{stem}.xml").write_text(said)
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for split, stems in SPLITS.items():
        (lists / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))


def coco(root: Path) -> None:
    for split, stems in SPLITS.items():
        images = [{"id": i, "file_name": f"{stem}.png", "width": 64, "height": 48} for i, stem in enumerate(stems)]
        objects = [
            {"image_id": i, "category_id": 1 + (label == "dog"), "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0}
            for i, stem in enumerate(stems)
            for label, (x1, y1, x2, y2) in BOXES[stem]
        ]
        annotations = [{"id": number, "area": 9, **item} for number, item in enumerate(objects)]
        categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
        said = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"instances_{split}.json").write_text(json.dumps(said))


def yolo(root: Path) -> None:
    _yolo_files(root)
    (root / "data.yaml").write_text("train: train.txt\nval: val.txt\nnc: 2\nnames:\n  0: cat\n  1: dog\n")


def darknet(root: Path) -> None:
    _yolo_files(root)
    (root / "obj.data").write_text("classes = 2\ntrain = train.txt\nvalid = val.txt\nnames = obj.names\n")
    (root / "obj.names").write_text("cat\ndog\n")


def _yolo_files(root: Path) -> None:
    for stem, items in BOXES.items():
        lines = [
            f"{int(label == 'dog')} {(x1 + x2) / 128} {(y1 + y2) / 96} {(x2 - x1) / 64} {(y2 - y1) / 48}\n"
            for label, (x1, y1, x2, y2) in items
        ]
        (root / f"{stem}.txt").write_text("".join(lines))
    for split, stems in SPLITS.items():
        (root / f"{split}.txt").write_text("".join(f"{stem}.png\n" for stem in stems))


SPLITS = {"train": "abc", "val": "de"}
OLDER = {"voc": (voc, "voc"), "coco": (coco, "coco"), "yolo": (yolo, "yolo"), "darknet": (darknet, "yolo")}
"""Likewise, with two splits that lists name."""


def boxes(data: DetectionData) -> dict[str, list]:
    """As in `BOXES`."""
    return {
        Path(image.name).stem: [
            (data.class_names[label], tuple(np.round(box, 6).tolist()))
            for box, label in zip(image.boxes_xyxy, image.labels, strict=True)
        ]
        for images in data.splits.values()
        for image in images
    }
