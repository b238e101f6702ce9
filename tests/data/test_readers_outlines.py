"""Outlines and turned boxes become the box around them, with numbers from hand; what has no box is counted."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from headstart.config.schemas import SCHEMAS
from headstart.data import catalog
from headstart.errors import UserError


def pictures(root: Path, number: int = 3) -> None:
    for shade in range(number):
        PIL.Image.new("RGB", (100, 80), (shade, 0, 0)).save(root / f"{shade}.png")


def read(form: str, root: Path, **settings):
    data = catalog.read(SCHEMAS["dataset"][form](name="mine", root=str(root), **settings), seed=0)
    images = {image.name: image for images in data.splits.values() for image in images}
    # but of what is drawn: into which split the few boxes of a class fall
    return images, dict(Counter(defect.kind for defect in data.defects if defect.kind != "class_in_one_split"))


def plain(root: Path) -> None:
    """labelme's files of the pictures 1 and 2, with a box each."""
    for name in "12":
        shape = {"label": "cat", "points": [[1, 2], [30, 40]], "shape_type": "rectangle"}
        (root / f"{name}.json").write_text(json.dumps({"shapes": [shape], "imagePath": f"{name}.png"}))


def test_labelme_outlines_groups_and_what_has_no_box(tmp_path):
    pictures(tmp_path)
    plain(tmp_path)
    shapes = [
        {"label": "cat", "points": [[10, 10], [30, 12], [20, 40]], "shape_type": "polygon"},
        {"label": "cat", "points": [[50, 40], [53, 44]], "shape_type": "circle"},  # of radius 5
        {"label": "dog", "points": [[1, 1], [5, 6]], "shape_type": "rectangle", "group_id": 3},
        {"label": "dog", "points": [[20, 2], [25, 8]], "shape_type": "rectangle", "group_id": 3},
        {"label": "dog", "points": [[1, 1], [9, 9]], "shape_type": "rectangle", "flags": {"difficult": True}},
        {"label": "dog", "points": [[1, 1]], "shape_type": "point"},
    ]
    (tmp_path / "0.json").write_text(json.dumps({"shapes": shapes, "imagePath": "0.png", "imageData": "x" * 1000}))
    images, kinds = read("labelme", tmp_path)
    assert images["0.png"].boxes_xyxy.tolist() == [[10, 10, 30, 40], [45, 35, 55, 45], [1, 1, 25, 8], [1, 1, 9, 9]]
    assert images["0.png"].difficult.tolist() == [False, False, False, True]
    assert kinds == {"enclosing_box": 2, "grouped": 1, "no_box": 1}
    images, _ = read("labelme", tmp_path, on={"enclosing_box": "skip_box"})
    assert images["0.png"].boxes_xyxy.tolist() == [[1, 1, 25, 8], [1, 1, 9, 9]]


def test_a_labelme_json_that_may_be_of_two_pictures_is_refused(tmp_path):
    pictures(tmp_path)
    plain(tmp_path)
    (tmp_path / "1.json").write_text(json.dumps({"shapes": [], "imagePath": "0.png"}))
    with pytest.raises(UserError, match=r"1\.json: imagePath is 0\.png, which is there, and so is 1\.png"):
        read("labelme", tmp_path)


def test_a_dota_line_is_the_box_around_its_corners_with_their_area(tmp_path):
    pictures(tmp_path)
    (tmp_path / "labelTxt").mkdir()
    (tmp_path / "labelTxt" / "0.txt").write_text("imagesource:x\ngsd:null\n20 10 30 20 20 30 10 20 ship 1\n")
    for name in "12":
        (tmp_path / "labelTxt" / f"{name}.txt").write_text("5 5 9 5 9 9 5 9 ship 0\n")
    images, kinds = read("dota", tmp_path)
    assert images["0.png"].boxes_xyxy.tolist() == [[10, 10, 30, 30]]
    assert images["0.png"].area.tolist() == [200]
    assert images["0.png"].difficult.tolist() == [True]
    assert kinds == {"enclosing_box": 1}
    (tmp_path / "labelTxt" / "0.txt").write_text("gsd:1\n20 10 30 20 20 30 10 ship 1\n")
    with pytest.raises(UserError, match=r"0\.txt: line 2: .*eight numbers"):
        read("dota", tmp_path)


def test_cvat_turns_boxes_about_their_middle_and_leaves_out_what_is_outside(tmp_path):
    pictures(tmp_path)
    box = '<box label="cat" occluded="{}" outside="{}" xtl="20" ytl="10" xbr="40" ybr="20" rotation="{}">{}</box>'
    hard = '<attribute name="difficult">true</attribute>'
    objects = box.format(1, 0, 90, "") + box.format(0, 1, 0, "") + box.format(0, 0, 0, hard)
    objects += '<polygon label="dog" points="1,2;30,4;5,60"/><points label="dog" points="1,2"/>'
    rest = "".join(f'<image name="{n}.png"><box label="cat" xtl="1" ytl="2" xbr="9" ybr="9"/></image>' for n in "12")
    (tmp_path / "a.xml").write_text(f'<annotations><image name="0.png">{objects}</image>{rest}</annotations>')
    images, kinds = read("cvat", tmp_path)
    assert np.allclose(images["0.png"].boxes_xyxy, [[25, 5, 35, 25], [20, 10, 40, 20], [1, 2, 30, 60]])
    assert images["0.png"].difficult.tolist() == [False, True, False]
    assert kinds == {"enclosing_box": 2, "out_of_view": 1, "no_box": 1}


def test_the_xml_of_cvat_expands_no_entity(tmp_path):
    pictures(tmp_path)
    (tmp_path / "secret.txt").write_text("the secret")
    entity = f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{tmp_path}/secret.txt">]>'
    (tmp_path / "a.xml").write_text(f'{entity}<annotations><image name="0.png">&x;</image></annotations>')
    with pytest.raises(UserError, match=r"a\.xml: not a readable xml file") as refused:
        read("cvat", tmp_path)
    assert "the secret" not in str(refused.value)


def task(number: int, name: str, **value) -> dict:
    said = {"x": 10, "y": 25, "width": 20, "height": 50, "rotation": 0, "rectanglelabels": ["cat"]} | value
    result = {"type": "rectanglelabels", "value": said, "original_width": 100, "original_height": 80}
    return {"id": number, "data": {"image": name}, "annotations": [{"result": [result]}]}


def test_label_studio_turns_boxes_about_their_corner_in_pixels(tmp_path):
    pictures(tmp_path)
    names = ("/data/local-files/?d=photos%5C0.png", "s3://bucket/1.png", "0a1b2c3d-2.png")
    tasks = [task(n, name, rotation=90 * (n == 0)) for n, name in enumerate(names)]
    (tmp_path / "t.json").write_text(json.dumps(tasks))
    images, kinds = read("label_studio", tmp_path)
    assert np.allclose(images["1.png"].boxes_xyxy, [[10, 20, 30, 60]])
    # about (10, 20), by a quarter to the right: 20 wide and 40 high reaches 40 to the left
    assert kinds["enclosing_box"] == 1
    assert np.allclose(images["0.png"].boxes_xyxy, [[0, 20, 10, 40]])


def test_label_studio_annotations_that_differ_are_refused_and_skipped_tasks_are_no_negatives(tmp_path):
    pictures(tmp_path)
    tasks = [task(n, f"{n}.png") for n in range(3)]
    tasks[0]["annotations"][0]["was_cancelled"] = True
    (tmp_path / "t.json").write_text(json.dumps(tasks))
    images, kinds = read("label_studio", tmp_path)
    assert "0.png" not in images
    assert kinds == {"missing_annotation": 1}
    tasks[1]["annotations"] += task(1, "1.png", x=11)["annotations"]
    (tmp_path / "t.json").write_text(json.dumps(tasks))
    with pytest.raises(UserError, match=r"t\.json: task 1: has 2 annotations that differ"):
        read("label_studio", tmp_path)


def test_open_images_groups_are_crowds(tmp_path):
    pictures(tmp_path)
    lines = [
        "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf",
        *(f"{n},/m/1,0.1,0.5,0.25,0.75,{n % 2}" for n in range(3)),
    ]
    (tmp_path / "b.csv").write_text("\n".join(lines))
    images, _ = read("open_images", tmp_path)
    assert np.allclose(images["1.png"].boxes_xyxy, [[10, 20, 50, 60]])
    assert [bool(images[f"{n}.png"].crowd[0]) for n in range(3)] == [False, True, False]


@pytest.mark.parametrize(
    ("name", "text", "choice"),
    [
        ("a.json", '{"shapes": [], "imagePath": "0.png"}', "labelme_folder"),
        ("a.json", '{"_via_settings": {}, "_via_img_metadata": {}}', "via_folder"),
        ("a.xml", "<annotations><image name='0.png'/></annotations>", "cvat_folder"),
        ("a.csv", "image,xmin,ymin,xmax,ymax,label", "csv_folder"),
        ("a.csv", "ImageID,LabelName,XMin", "open_images_folder"),
    ],
)
@pytest.mark.parametrize("asked", ["voc", "yolo", "dota"])
def test_a_refusal_names_the_format_that_it_is(name, text, choice, asked, tmp_path):
    pictures(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=f"dataset={choice}"):
        read(asked, tmp_path)


def test_labelme_and_voc_boxes_of_the_fruit_are_equal_in_all_300(real_data):
    def of(form: str) -> dict[str, list]:
        images, _ = read(form, real_data / "fruit")
        return {name: sorted(map(tuple, image.boxes_xyxy.tolist())) for name, image in images.items()}

    assert len(of("labelme")) == 300
    assert of("labelme") == of("voc")


def test_csv_and_voc_boxes_of_the_blood_cells_are_equal(real_data):
    csv, kinds = read("csv", real_data / "bccd", train_file="test.csv")
    voc, _ = read("voc", real_data / "bccd")
    assert kinds == {"empty_box": 2}
    assert {n: sorted(map(tuple, i.boxes_xyxy.tolist())) for n, i in csv.items()} == {
        n: sorted(map(tuple, i.boxes_xyxy.tolist())) for n, i in voc.items()
    }


def test_dota_example_has_the_objects_of_its_source(real_data):
    images, kinds = read("dota", real_data / "dota_example")
    assert sum(len(image.labels) for image in images.values()) == 600
    assert kinds["label_without_image"] == 5
