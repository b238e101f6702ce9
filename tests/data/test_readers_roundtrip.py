"""Random boxes written as VOC, COCO and YOLO files are read back the same."""

import json
import tempfile
from pathlib import Path

import numpy as np
import PIL.Image
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.config.schema import CocoConfig, VocConfig, YoloConfig
from headstart.data import catalog
from headstart.data.types import AnnotatedImage

WIDTH, HEIGHT = 97, 61
NAMES = ["ant", "bee", "cat"]
Objects = list[tuple[int, tuple[float, float, float, float]]]


@st.composite
def objects(draw: st.DrawFn) -> Objects:
    """Labels, and boxes inside the image of at least half a pixel; not within the first one, where shares would be."""
    found: Objects = []
    for _ in range(draw(st.integers(1, 5))):
        x, y = draw(st.floats(0, WIDTH - 0.5)), draw(st.floats(0, HEIGHT - 0.5))
        right, bottom = draw(st.floats(max(x + 0.5, 1.5), WIDTH)), draw(st.floats(y + 0.5, HEIGHT))
        found.append((draw(st.integers(0, 2)), (x, y, right, bottom)))
    return found


def write_voc(root: Path, written: Objects, offset: int) -> None:
    items = "".join(
        f"<object><name>{NAMES[label]}</name><bndbox><xmin>{x1 + offset!r}</xmin><ymin>{y1 + offset!r}</ymin>"
        f"<xmax>{x2!r}</xmax><ymax>{y2!r}</ymax></bndbox></object>"
        for label, (x1, y1, x2, y2) in written
    )
    for split in ("train", "val"):
        (root / split / "x.xml").write_text(f"<annotation>{items}</annotation>")


def write_coco(root: Path, written: Objects) -> None:
    annotations = [
        {"id": i, "image_id": 1, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for i, (label, (x1, y1, x2, y2)) in enumerate(written)
    ]
    categories = [{"id": label, "name": name} for label, name in enumerate(NAMES)]
    for split in ("train", "val"):
        image = {"id": 1, "file_name": "x.png", "width": WIDTH, "height": HEIGHT}
        content = {"images": [image], "annotations": annotations, "categories": categories}
        (root / split / "_annotations.coco.json").write_text(json.dumps(content))


def write_yolo(root: Path, written: Objects) -> None:
    lines = [
        f"{label} {(x1 + x2) / 2 / WIDTH!r} {(y1 + y2) / 2 / HEIGHT!r} {(x2 - x1) / WIDTH!r} {(y2 - y1) / HEIGHT!r}"
        for label, (x1, y1, x2, y2) in written
    ]
    (root / "classes.txt").write_text("\n".join(NAMES))
    for split in ("train", "val"):
        (root / split / "x.txt").write_text("\n".join(lines))


def assert_same(image: AnnotatedImage, class_names: tuple[str, ...], written: Objects) -> None:
    assert [class_names[label] for label in image.labels] == [NAMES[label] for label, _ in written]
    np.testing.assert_allclose(image.boxes_xyxy, [box for _, box in written], atol=1e-9)


KEPT = {"tiny_box", "doubled_box", "box_of_two_classes", "unused_class"}
"""What may be drawn, and stays."""


@settings(deadline=None, max_examples=25)
@given(objects())
def test_boxes_survive_every_format(written):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number, split in enumerate(("train", "val")):
            (root / split).mkdir()
            PIL.Image.new("RGB", (WIDTH, HEIGHT), (number, 0, 0)).save(root / split / "x.png")
        write_coco(root, written)
        write_yolo(root, written)
        configs = [CocoConfig(name="c", root=folder), YoloConfig(name="y", root=folder)]
        for offset in (0, 1):
            write_voc(root, written, offset)
            for config in [VocConfig(name="v", root=folder, one_based=bool(offset)), *configs]:
                data = catalog.read(config, seed=0)
                assert {defect.kind for defect in data.defects} <= KEPT
                for split in ("train", "val"):
                    assert_same(data.splits[split][0], data.class_names, written)
