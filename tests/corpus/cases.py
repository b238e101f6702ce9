"""What strangers' data sets have wrong with them, one fault a case, and what is to become of it.

The table in docs/defects.md is made of these; test_corpus.py sends each through `headstart doctor` and
`headstart train`.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image

from headstart.config.kinds import KINDS, Severity
from tests.corpus.drawing import (
    BOX,
    DRAW,
    OBJECT,
    SIZE_WH,
    coco,
    csv_path,
    csv_row,
    image_path,
    json_path,
    name_of,
    parquet_path,
    picture,
    rows,
    txt,
    txt_path,
    write_coco,
    write_rows,
    xml,
    xml_object,
    xml_path,
)

FINISHED, REFUSED = "trains", "refused"


@dataclass(frozen=True)
class Case:
    """A broken data set and its documented result."""

    name: str
    format: str
    """Of `conf/dataset/<format>_folder.yaml`."""
    what: str
    draw: Callable[[Path], None]
    kinds: Mapping[str, int]
    """Kind of defect -> how often `doctor` finds it; `refused`: a data set that cannot be read at all."""
    train: str
    """`trains` or `refused`."""
    says: tuple[str, ...]
    """Words of what both say: file, object, value."""

    @property
    def exit_code(self) -> int:
        """Of `doctor`: 1 where a finding is of severity error."""
        errors = {"refused", *(name for name, kind in KINDS.items() if kind.severity is Severity.error)}
        return int(not errors.isdisjoint(self.kinds))


CASES: list[Case] = []


def case(
    format: str, what: str, kinds: Mapping[str, int], train: str = FINISHED, says: tuple[str, ...] = ()
) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Registers a function that breaks a sound data set of `format`."""

    def register(break_it: Callable[[Path], None]) -> Callable[[Path], None]:
        def draw(root: Path) -> None:
            DRAW[format](root)
            break_it(root)

        CASES.append(Case(f"{format}-{break_it.__name__}", format, what, draw, kinds, train, says))
        return break_it

    return register


def edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text()))


def edit_coco(root: Path, change: Callable[[dict[str, Any]], None], split: str = "train") -> None:
    content = coco(split)
    change(content)
    write_coco(root, split, content)


# ------------------------------------------------------------------------------------------------ pictures


@case("voc", "a picture cut off in the middle", {"unreadable_image": 1}, says=("p0.png", "unreadable_image"))
def truncated_png(root: Path) -> None:
    path = image_path(root, 0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@case("yolo", "an empty file in place of a picture", {"unreadable_image": 1}, says=("p1.png", "unreadable_image"))
def empty_picture(root: Path) -> None:
    image_path(root, 1).write_bytes(b"")


@case("coco", "a text file named .png", {"unreadable_image": 1}, says=("p2.png", "unreadable_image"))
def text_as_picture(root: Path) -> None:
    image_path(root, 2).write_text("404 Not Found")


@case("voc", "a PNG whose pixel data is garbage between sound ends", {"undecodable_image": 1}, REFUSED, ("p3.png",))
def garbage_inside(root: Path) -> None:
    path = image_path(root, 3)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    path.write_bytes(bytes(data))


@case("yolo", "a JPEG named .png", {"lying_suffix": 1})
def jpeg_named_png(root: Path) -> None:
    picture(0).save(image_path(root, 0), "JPEG")


@case("voc", "a 16-bit grey picture", {"sixteen_bit": 1, "wrong_depth": 1})
def sixteen_bits(root: Path) -> None:
    import numpy as np

    values = np.asarray(picture(0).convert("L")).astype(np.uint16) * 256
    PIL.Image.fromarray(values).save(image_path(root, 0))


@case("voc", "a picture with a palette", {"palette": 1, "wrong_depth": 1})
def palette(root: Path) -> None:
    picture(0).convert("P").save(image_path(root, 0))


@case("yolo", "a grey picture", {"greyscale": 1})
def greyscale(root: Path) -> None:
    picture(0).convert("L").save(image_path(root, 0))


@case("coco", "a picture with transparency", {"transparent": 1})
def transparent(root: Path) -> None:
    picture(0).convert("RGBA").save(image_path(root, 0))


@case("voc", "a CMYK JPEG under the name of a PNG", {"cmyk": 1, "lying_suffix": 1, "wrong_depth": 1})
def cmyk(root: Path) -> None:
    picture(0).convert("CMYK").save(image_path(root, 0), "JPEG")


def _with_orientation(root: Path, number: int, value: int, size_wh: tuple[int, int]) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = value
    picture(number, size_wh).save(image_path(root, number), "PNG", exif=exif)


@case("voc", "an EXIF orientation that is none (9)", {"exif_invalid": 1})
def invalid_orientation(root: Path) -> None:
    _with_orientation(root, 0, 9, SIZE_WH)


@case("voc", "a picture turned by EXIF, its xml in upright pixels", {"exif_turned": 1})
def turned_upright_boxes(root: Path) -> None:
    _with_orientation(root, 0, 6, SIZE_WH[::-1])


@case("voc", "a picture turned by EXIF, its xml in stored pixels", {"exif_raw": 1})
def turned_stored_boxes(root: Path) -> None:
    _with_orientation(root, 0, 6, SIZE_WH)


@case("yolo", "a picture turned by EXIF, and nothing says in which pixels the boxes are", {"exif_doubt": 1})
def turned_unknown(root: Path) -> None:
    _with_orientation(root, 0, 6, SIZE_WH)


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@case("yolo", "a file of 60 bytes that claims 60,000 x 60,000 pixels", {"too_many_pixels": 1}, says=("60000 x 60000",))
def bomb(root: Path) -> None:
    image_path(root, 0).write_bytes(png_claiming(60_000, 60_000))


@case("yolo", "a picture of 8 x 4,000 pixels", {"extreme_aspect": 1})
def very_long(root: Path) -> None:
    picture(0, (8, 4000)).save(image_path(root, 0))


# --------------------------------------------------------------------------------------------------- boxes


def _voc_boxes(root: Path, *boxes: tuple[Any, ...], number: int = 0) -> None:
    xml_path(root, number).write_text(xml(number, *map(xml_object, (BOX, *boxes))))


@case("voc", "a box without width", {"empty_box": 1}, says=("p0.xml", "object 2"))
def zero_width(root: Path) -> None:
    _voc_boxes(root, (20, 10, 20, 30))


@case("voc", "a box whose corners are swapped", {"inverted_box": 1}, says=("p0.xml", "object 2"))
def inverted(root: Path) -> None:
    _voc_boxes(root, (40, 36, 10, 8))


@case("voc", "a corner that is NaN", {"not_finite_box": 1}, says=("p0.xml", "object 2"))
def nan_corner(root: Path) -> None:
    _voc_boxes(root, ("nan", 8, 40, 36))


@case("coco", "a width that is infinite", {"not_finite_box": 1}, says=("instances_train.json",))
def infinite_width(root: Path) -> None:
    edit_coco(root, lambda c: c["annotations"].append(c["annotations"][0] | {"id": 99, "bbox": [1, 1, 1e400, 5]}))


@case("voc", "a box wholly outside of the picture", {"box_outside": 1}, says=("p0.xml", "object 2"))
def outside(root: Path) -> None:
    _voc_boxes(root, (100, 100, 120, 120))


@case("voc", "a box partly outside of the picture", {"clipped_box": 1}, says=("p0.xml", "object 2"))
def partly_outside(root: Path) -> None:
    _voc_boxes(root, (50, 20, 70, 40))


@case("voc", "a box larger than the picture", {"oversized_box": 1}, says=("p0.xml", "object 2"))
def oversized(root: Path) -> None:
    _voc_boxes(root, (-20, -20, 100, 100))


@case("voc", "a box of one pixel by one", {"tiny_box": 1})
def tiny(root: Path) -> None:
    _voc_boxes(root, (20, 20, 21, 21))


@case("yolo", "a label line twice", {"doubled_box": 1})
def doubled_line(root: Path) -> None:
    edit(txt_path(root, 0), lambda text: text * 2)


@case("coco", "one box under two classes", {"box_of_two_classes": 1})
def two_classes(root: Path) -> None:
    edit_coco(root, lambda c: c["annotations"].append(c["annotations"][0] | {"id": 99, "category_id": 2}))


@case("coco", "a box of three numbers", {"malformed_object": 1}, REFUSED, ("instances_train.json", "bbox"))
def three_numbers(root: Path) -> None:
    edit_coco(root, lambda c: c["annotations"][0].update(bbox=[1, 2, 3]))


@case("coco", "all boxes as shares of the picture", {"refused": 1}, REFUSED, ("instances_train.json", "shares"))
def shares_for_pixels(root: Path) -> None:
    for split in ("train", "val"):
        edit_coco(root, lambda c: [a.update(bbox=[0.1, 0.02 * a["id"], 0.4, 0.5]) for a in c["annotations"]], split)


@case("coco", "all boxes as two corners (x1 y1 x2 y2)", {"refused": 1}, REFUSED, ("instances_train.json", "x1, y1"))
def corners_for_sizes(root: Path) -> None:
    for split in ("train", "val"):
        edit_coco(root, lambda c: [a.update(bbox=[30, 20, 60, 46]) for a in c["annotations"]], split)


@case("coco", "all boxes as centre and size", {"refused": 1}, REFUSED, ("instances_train.json", "x centre, y centre"))
def centres_for_corners(root: Path) -> None:
    for split in ("train", "val"):
        edit_coco(root, lambda c: [a.update(bbox=[50, 40, 27, 15]) for a in c["annotations"]], split)


@case("yolo", "no file that says what the classes are called", {"unnamed_classes": 1}, says=("dataset.class_names",))
def no_names(root: Path) -> None:
    (root / "data.yaml").unlink()


@case("yolo", "all boxes as two corners, as shares", {"refused": 1}, REFUSED, ("p0.txt", "x1, y1, x2, y2"))
def corners_for_centres(root: Path) -> None:
    for number in range(10):
        txt_path(root, number).write_text("0 0.55 0.6 0.9 0.95\n")


@case(
    "voc",
    "pictures made smaller, with the boxes of before",
    {"resized_image": 2, "clipped_box": 2},
    REFUSED,
    ("p0.xml: 128x96 in the annotation", "resized_image=skip_image"),
)
def scaled_pictures(root: Path) -> None:
    for number in (0, 1):
        xml_path(root, number).write_text(xml(number, xml_object((60, 40, 90, 70)), size_wh=(128, 96)))


@case(
    "yolo",
    "boxes in pixels where shares are due",
    {"refused": 1, "not_shares": 10, "unused_class": 2},
    REFUSED,
    ("p0.txt",),
)
def pixels_for_shares(root: Path) -> None:
    for number in range(10):
        txt_path(root, number).write_text("0 25 22 30 28\n")


@case("coco", "an area that is negative", {"wrong_area": 1})
def negative_area(root: Path) -> None:
    edit_coco(root, lambda c: c["annotations"][0].update(area=-3))


# --------------------------------------------------------------------------------------- VOC's xml files


@case(
    "voc",
    "an xml that stops in the middle",
    {"malformed_file": 1},
    REFUSED,
    ("p0.xml", "line 1"),
)
def truncated_xml(root: Path) -> None:
    edit(xml_path(root, 0), lambda text: text[: len(text) // 2])


@case("voc", "an empty xml", {"malformed_file": 1}, REFUSED, ("p1.xml",))
def empty_xml(root: Path) -> None:
    xml_path(root, 1).write_text("")


@case(
    "voc",
    "an xml that is a server's error page",
    {"malformed_file": 1},
    REFUSED,
    ("p0.xml", "<error>"),
)
def error_page(root: Path) -> None:
    xml_path(root, 0).write_text("<Error><Code>AccessDenied</Code></Error>")


@case("voc", "an object without a box", {"malformed_object": 1}, REFUSED, ("p0.xml", "object 1"))
def no_bndbox(root: Path) -> None:
    xml_path(root, 0).write_text(xml(0, "<object><name>cat</name></object>"))


@case("voc", "a corner that is a word", {"malformed_object": 1}, REFUSED, ("p0.xml", "object 1", "left"))
def word_for_number(root: Path) -> None:
    _voc_object = OBJECT.format("left", 8, 40, 36, name="cat")
    xml_path(root, 0).write_text(xml(0, _voc_object))


@case("voc", "a size of 0 x 0", {"zero_size": 1})
def zero_size(root: Path) -> None:
    xml_path(root, 0).write_text(xml(0, size_wh=(0, 0)))


@case("voc", "another size than the picture's", {"wrong_size": 1})
def wrong_size(root: Path) -> None:
    xml_path(root, 0).write_text(xml(0, size_wh=(640, 480)))


@case("voc", "a <filename> that is another picture's", {"wrong_filename": 1})
def wrong_filename(root: Path) -> None:
    xml_path(root, 0).write_text(xml(0, filename="p1.png"))


@case("voc", "a picture without an xml", {"missing_annotation": 1}, says=("p0",))
def missing_xml(root: Path) -> None:
    xml_path(root, 0).unlink()


@case("voc", "an xml without a picture", {"label_without_image": 1})
def missing_picture_of_xml(root: Path) -> None:
    image_path(root, 0).unlink()


@case("voc", "entities that would grow to gigabytes", {"malformed_file": 1}, REFUSED, ("p0.xml",))
def billion_laughs(root: Path) -> None:
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10 if i else "ha"}">' for i in range(10))
    xml_path(root, 0).write_text(f"<!DOCTYPE a [{entities}]><annotation>&a9;</annotation>")


@case(
    "voc",
    "an entity that reads a file of the machine",
    {"malformed_file": 1},
    REFUSED,
    ("p0.xml",),
)
def external_entity(root: Path) -> None:
    xml_path(root, 0).write_text('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>')


@case("voc", "two classes that differ in letter case alone", {"class_in_one_split": 1, "similar_names": 1})
def similar_names(root: Path) -> None:
    xml_path(root, 0).write_text(xml(0, xml_object(name="Cat")))


@case("voc", "a class that validation alone has", {"class_in_one_split": 2, "class_not_in_train": 1}, says=("bird",))
def class_in_val(root: Path) -> None:
    xml_path(root, 8).write_text(xml(8, xml_object(name="bird")))


@case("voc", "every object difficult", {"refused": 1}, REFUSED, ("train", "difficult"))
def all_difficult(root: Path) -> None:
    for path in (root / "Annotations").rglob("*.xml"):
        edit(path, lambda text: text.replace("<difficult>0", "<difficult>1"))


@case("voc", "no xml at all", {"refused": 1}, REFUSED, ("xml",))
def no_xml(root: Path) -> None:
    shutil.rmtree(root / "Annotations")


# ------------------------------------------------------------------------------------------ COCO's json file


@case("coco", "a json that stops in the middle", {"refused": 1}, REFUSED, ("instances_train.json", "column"))
def truncated_json(root: Path) -> None:
    edit(json_path(root, "train"), lambda text: text[: len(text) // 2])


@case("coco", "an empty json", {"refused": 1}, REFUSED, ("instances_train.json",))
def empty_json(root: Path) -> None:
    json_path(root, "train").write_text("")


@case("coco", "a json of lists a million deep", {"refused": 1}, REFUSED, ("instances_train.json",))
def deep_json(root: Path) -> None:
    json_path(root, "train").write_text("[" * 1_000_000)


@case("coco", "no categories", {"refused": 1}, REFUSED, ("instances_train.json", "categories"))
def no_categories(root: Path) -> None:
    edit_coco(root, lambda c: c.pop("categories"))


@case(
    "coco", "an object of a category that is not listed", {"unknown_class": 1}, REFUSED, ("instances_train.json", "77")
)
def unknown_category(root: Path) -> None:
    edit_coco(root, lambda c: c["annotations"][0].update(category_id=77))


@case("coco", "an object of a picture that is not listed", {"unknown_image": 1}, says=("instances_train.json",))
def unknown_image(root: Path) -> None:
    edit_coco(root, lambda c: c["annotations"].append(c["annotations"][0] | {"id": 99, "image_id": 77}))


@case("coco", "a listed picture that is not there", {"missing_image": 1}, says=("p0.png",))
def missing_picture(root: Path) -> None:
    image_path(root, 0).unlink()


@case("coco", "nearly all listed pictures missing", {"refused": 1}, REFUSED, ("train", "p0.png"))
def most_missing(root: Path) -> None:
    for number in range(6):
        image_path(root, number).unlink()


@case("coco", "an id twice", {"refused": 1}, REFUSED, ("instances_train.json",))
def image_id_twice(root: Path) -> None:
    edit_coco(root, lambda c: c["images"][1].update(id=1))


@case("coco", "ids that are text in one place and numbers in another", {"id_types": 1})
def text_ids(root: Path) -> None:
    edit_coco(root, lambda c: [i.update(id=str(i["id"])) for i in c["images"]])


@case("coco", "an unused category `background`", {"no_class": 2}, says=("background",))
def background(root: Path) -> None:
    for split in ("train", "val"):
        edit_coco(root, lambda c: c["categories"].insert(0, {"id": 0, "name": "background"}), split)


@case("coco", "a category without an object", {"id_gaps": 2, "unused_class": 1})
def unused_category(root: Path) -> None:
    for split in ("train", "val"):
        edit_coco(root, lambda c: c["categories"].append({"id": 9, "name": "bird"}), split)


@case("coco", "every object `iscrowd`", {"refused": 1}, REFUSED, ("train", "crowd"))
def all_crowd(root: Path) -> None:
    for split in ("train", "val"):
        edit_coco(root, lambda c: [a.update(iscrowd=1) for a in c["annotations"]], split)


@case("coco", "a file name with a backslash", {"other_path": 1})
def backslash(root: Path) -> None:
    edit_coco(root, lambda c: c["images"][0].update(file_name="images\\train\\p0.png"))


@case("coco", "another size than the picture's", {"wrong_size": 1})
def wrong_size_in_json(root: Path) -> None:
    edit_coco(root, lambda c: c["images"][0].update(width=640, height=480))


@case(
    "coco",
    "an absolute path to a file outside of the data set",
    {"refused": 1},
    REFUSED,
    ("instances_train.json", "secret.png"),
)
def absolute_path(root: Path) -> None:
    secret = root.parent / "secret.png"
    picture(50).save(secret)
    edit_coco(root, lambda c: c["images"][0].update(file_name=str(secret)))


@case("coco", "a path that climbs out of the data set", {"refused": 1}, REFUSED, ("instances_train.json", "secret.png"))
def climbing_path(root: Path) -> None:
    picture(50).save(root.parent / "secret.png")
    edit_coco(root, lambda c: c["images"][0].update(file_name="../../secret.png"))


@case("coco", "the same picture in train and val", {"split_overlap": 1}, says=("p7.png",))
def overlap(root: Path) -> None:
    shutil.copy(image_path(root, 7), image_path(root, 0))


@case("coco", "one picture under two names, with other boxes", {"equal_images_other_boxes": 1})
def equal_with_other_boxes(root: Path) -> None:
    shutil.copy(image_path(root, 1), image_path(root, 0))
    edit_coco(root, lambda c: c["annotations"][0].update(bbox=[1, 1, 20, 20]))


@case("yolo", "one picture under two names", {"equal_images": 1})
def equal_pictures(root: Path) -> None:
    shutil.copy(image_path(root, 2), image_path(root, 0))


@case("coco", "nearly the same picture in train and val", {"near_equal": 1})
def nearly_equal(root: Path) -> None:
    picture(7).resize((60, 45)).resize(SIZE_WH).save(image_path(root, 0))


# ------------------------------------------------------------------------------------------- YOLO's text files


@case("yolo", "a class that is not among the names", {"unknown_class": 1}, REFUSED, ("p0.txt", ":1:", "7"))
def index_too_large(root: Path) -> None:
    txt_path(root, 0).write_text(txt(label=7))


@case("yolo", "a class that is a word", {"malformed_object": 1}, REFUSED, ("p0.txt", ":1:", "cat"))
def word_for_class(root: Path) -> None:
    txt_path(root, 0).write_text(txt(label="cat"))


@case("yolo", "a line of three numbers", {"malformed_object": 1}, REFUSED, ("p0.txt", ":1:"))
def short_line(root: Path) -> None:
    txt_path(root, 0).write_text("0 0.5 0.5\n")


@case("yolo", "a polygon among the boxes", {"polygon_line": 1}, REFUSED, ("p0.txt", ":1:"))
def polygon(root: Path) -> None:
    txt_path(root, 0).write_text("0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n")


@case("yolo", "a binary file in place of a label", {"malformed_object": 3}, REFUSED, ("p0.txt",))
def binary_label(root: Path) -> None:
    txt_path(root, 0).write_bytes(bytes(range(256)))


@case("yolo", "a label file of another letter case", {"other_case": 1})
def renamed_label(root: Path) -> None:
    path = txt_path(root, 0)
    path.rename(path.with_name("P0.txt"))


@case("yolo", "a label file without a picture", {"label_without_image": 1})
def stray_label(root: Path) -> None:
    (root / "labels" / "train" / "stray.txt").write_text(txt())


@case("yolo", "a validation split without labels", {"refused": 1}, REFUSED, ("val",))
def unlabelled_val(root: Path) -> None:
    shutil.rmtree(root / "labels" / "val")


@case("yolo", "`nc` and the number of names differ", {"refused": 1}, REFUSED, ("data.yaml", "nc"))
def wrong_nc(root: Path) -> None:
    edit(root / "data.yaml", lambda text: text.replace("nc: 2", "nc: 5"))


@case("yolo", "a data.yaml that is no YAML", {"refused": 1}, REFUSED, ("data.yaml", "line"))
def broken_yaml(root: Path) -> None:
    (root / "data.yaml").write_text("train: images/train\nnames: [cat, dog\n  x: {")


@case("yolo", "a data.yaml that would run a command", {"refused": 1}, REFUSED, ("data.yaml", "python/object"))
def yaml_with_a_command(root: Path) -> None:
    (root / "data.yaml").write_text(f"names: !!python/object/apply:os.system ['touch {root}/ran']\n")


@case("yolo", "a data.yaml of aliases that grow to gigabytes", {"refused": 1}, REFUSED, ("data.yaml",))
def yaml_bomb(root: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    (root / "data.yaml").write_text("\n".join([*lines, "names: *a9", "train: images/train"]))


@case("yolo", "a data.yaml whose path climbs out of the data set", {"refused": 1}, REFUSED, ("data.yaml", "../"))
def yaml_climbs(root: Path) -> None:
    other = root.parent / "other"
    DRAW["yolo"](other)
    edit(root / "data.yaml", lambda text: text.replace("images/train", "../other/images/train"))


@case("yolo", "a link to a folder outside of the data set", {"outside_link": 1})
def link_outside(root: Path) -> None:
    other = root.parent / "elsewhere"
    DRAW["yolo"](other)
    (root / "more").symlink_to(other, target_is_directory=True)


@case("yolo", "a link to a folder above it", {"link_loop": 1})
def link_loop(root: Path) -> None:
    (root / "images" / "up").symlink_to("..", target_is_directory=True)


@case("yolo", "no picture at all", {"refused": 1, "label_without_image": 10}, REFUSED, ("image",))
def no_pictures(root: Path) -> None:
    shutil.rmtree(root / "images")


@case("yolo", "names with blanks, brackets, `#`, accents", {})
def odd_names(root: Path) -> None:
    for number, name in enumerate(("a b", "c (1)", "d#e", "é_ü", "[f]", "g,h")):
        image_path(root, number).rename(image_path(root, number).with_name(f"{name}.png"))
        txt_path(root, number).rename(txt_path(root, number).with_name(f"{name}.txt"))


@case("voc", "a zip file in place of a folder", {"refused": 1}, REFUSED, ("unpack",))
def zip_file(root: Path) -> None:
    with zipfile.ZipFile(root.with_suffix(".zip"), "w") as archive:
        archive.write(xml_path(root, 0), "p0.xml")
    shutil.rmtree(root)
    os.replace(root.with_suffix(".zip"), root)


@case("voc", "an empty folder", {"refused": 1}, REFUSED, ())
def empty_folder(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()


@case("coco", "an empty validation split", {"refused": 1}, REFUSED, ("val",))
def empty_val(root: Path) -> None:
    write_coco(root, "val", {"images": [], "annotations": [], "categories": coco("val")["categories"]})


@case("coco", "a key twice in one object", {"refused": 1}, REFUSED, ("instances_train.json", "bbox"))
def duplicate_key(root: Path) -> None:
    text = json.dumps(coco("train"))
    json_path(root, "train").write_text(text.replace('"bbox":', '"bbox": [0, 0, 5, 5], "bbox":', 1))


@case("coco", "names of another Unicode form", {"other_case": 1})
def unicode_form(root: Path) -> None:
    image_path(root, 0).rename(image_path(root, 0).with_name("cafe\u0301.png"))
    edit_coco(root, lambda c: c["images"][0].update(file_name="caf\u00e9.png"))


@case("voc", "names that would be markup", {"class_in_one_split": 1}, says=())
def markup_names(root: Path) -> None:
    xml_path(root, 0).write_text(xml(0, xml_object(name="&lt;script&gt;alert(1)&lt;/script&gt;")))
    xml_path(root, 8).write_text(xml(8, xml_object(name="&lt;script&gt;alert(1)&lt;/script&gt;")))


@case(
    "hugging_face", "a parquet file cut off in the middle", {"refused": 1}, REFUSED, ("train-00000-of-00001.parquet",)
)
def truncated_parquet(root: Path) -> None:
    path = parquet_path(root, "train")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@case(
    "hugging_face", "a box of three numbers in a parquet file", {"malformed_object": 1}, REFUSED, ("row 2: object 0",)
)
def three_numbers_in_a_row(root: Path) -> None:
    found = rows("train")
    found[2]["objects"]["bbox"] = [[1, 2, 3]]
    write_rows(root, "train", found)


@case("hugging_face", "a parquet row without a picture", {"unreadable_image": 1}, says=("00000001",))
def row_without_picture(root: Path) -> None:
    found = rows("train")
    found[1]["image"] = None
    write_rows(root, "train", found)


# ---------------------------------------------------------------------------------- csv, and two of one name


def _rows(root: Path, *rows: str) -> None:
    with csv_path(root, "train").open("a") as file:
        file.writelines(f"{row}\n" for row in rows)


@case("csv", "three hundred rows with a word for a corner", {"malformed_object": 300}, REFUSED, ("train.csv: line 9",))
def words_for_corners(root: Path) -> None:
    _rows(root, *(csv_row(number % 7, (number, 8, "right", 36)) for number in range(300)))


@case("csv", "rows that name no picture", {"unnamed_image": 2}, REFUSED, ("train.csv: line 9", "line 10"))
def nameless_rows(root: Path) -> None:
    _rows(root, ",1,2,30,40,cat", "a,b.png,1,2,30,40,cat")


@case("csv", "a csv without a column for the class", {"malformed_file": 1}, REFUSED, ("more.csv: line 1", "label"))
def no_class_column(root: Path) -> None:
    (root / "more.csv").write_text("image,xmin,ymin,xmax,ymax\np0.png,1,2,30,40\n")


@case(
    "csv", "a picture with other boxes in a second csv", {"described_twice": 1}, REFUSED, ("p0.png in", "old_train.csv")
)
def two_descriptions(root: Path) -> None:
    (root / "old_train.csv").write_text("image,xmin,ymin,xmax,ymax,label\np0.png,1,2,30,40,cat\n")


@case(
    "csv",
    "a name that two pictures of a split have",
    {"ambiguous_image": 1, "unused_no_label": 2},
    REFUSED,
    ("p0.png", "more/p0.png"),
)
def one_name_twice(root: Path) -> None:
    (root / "more").mkdir()
    picture(77).save(root / "more" / "p0.png")


@case("voc", "a second picture beside the one that the xml names", {"same_name": 1})
def spare_picture(root: Path) -> None:
    picture(77).save(image_path(root, 0).with_suffix(".jpg"))


@case(
    "voc",
    "two pictures of an xml that names neither",
    {"ambiguous_image": 1, "unused_not_listed": 1},
    REFUSED,
    ("p0.xml", "p0.jpg", "p0.png"),
)
def two_pictures_of_one_xml(root: Path) -> None:
    picture(77).save(image_path(root, 0).with_suffix(".jpg"))
    xml_path(root, 0).write_text(xml(0, filename="photo.png"))


def broken(name: str) -> Case:
    """By its name."""
    return next(one for one in CASES if one.name == name)


assert len({one.name for one in CASES}) == len(CASES)
assert name_of(0) == "p0"
