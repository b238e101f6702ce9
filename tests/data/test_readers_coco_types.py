"""COCO json as programs write it: ids, flags and sizes of other types, other json files beside it, other units."""

import copy
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest

from headstart.data.readers import units
from headstart.data.readers.units import Form
from headstart.errors import UserError

from .test_readers_coco import content, draw, names, read, write

PICTURES = [f"{i}.png" for i in range(8)]


def write_set(root, change, **more: Any) -> dict[str, Any]:
    """train.json with eight pictures and `change(value)`, and a sound val.json."""
    value = copy.deepcopy(content(*PICTURES, **more))
    change(value)
    draw(root, *PICTURES, "v.png")
    write(root, "train.json", value)
    write(root, "val.json", content("v.png", **more))
    return value


def setting(part: str, **changes: Any):
    """Sets keys of every item of a part; functions get the old value."""

    def change(value: dict[str, Any]) -> None:
        for item in value[part]:
            item |= {key: new(item.get(key)) if callable(new) else new for key, new in changes.items()}

    return change


def kinds(data) -> Counter:
    return Counter(defect.kind for defect in data.defects)


# ------------------------------------------------------------------------------------------------- ids


@pytest.mark.parametrize(
    "change",
    [
        setting("images", id=str),
        setting("annotations", image_id=str),
        setting("annotations", image_id=float),
        setting("images", id=lambda i: f"{i:04}"),
        setting("annotations", category_id=str),
        setting("categories", id=str),
        setting("categories", id=lambda i: float(i)),
    ],
)
def test_ids_of_another_type_are_matched_by_value_and_said(tmp_path, change):
    write_set(tmp_path, change)
    data = read(tmp_path)
    assert [len(image.labels) for image in data.splits["train"]] == [1] * 8
    assert {data.class_names[label] for image in data.splits["train"] for label in image.labels} == {"dog"}
    assert data.class_names == ("cat", "dog", "never seen")
    assert kinds(data) == {"id_types": 1}


def test_some_category_ids_as_text_are_matched(tmp_path):
    write_set(tmp_path, lambda value: value["annotations"][3].update(category_id="3"))
    data = read(tmp_path)
    assert [data.class_names[image.labels[0]] for image in data.splits["train"]].count("cat") == 1


def test_ids_that_are_text_everywhere_are_nothing_to_speak_of(tmp_path):
    def change(value):
        setting("images", id=lambda i: f"frame {i}")(value)
        setting("annotations", image_id=lambda i: f"frame {i}")(value)

    write_set(tmp_path, change)
    assert read(tmp_path).defects == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (setting("images", id=[1]), r"images\[0\]: id is \[1\]; it must be a whole number, or text"),
        (setting("images", id=None), r"images\[0\]: id is null"),
        (setting("images", id=float("inf")), r"images\[0\]: id is Infinity"),
        (setting("images", id=1.5), r"images\[0\]: id is 1\.5"),
        (setting("images", id=True), r"images\[0\]: id is true"),
        (setting("annotations", image_id={"a": 1}), r'annotation id 100: image_id is {"a": 1}'),
        (setting("annotations", category_id=None), "annotation id 100: category_id is null"),
        (setting("annotations", category_id=float("nan")), "annotation id 100: category_id is NaN"),
        (setting("categories", id=[[1]]), r"categories\[0\]: id is \[\[1\]\]"),
        (setting("categories", name=None), r"categories\[0\]: name is null"),
        (setting("categories", name=["cat"]), r'categories\[0\]: name is \["cat"\]'),
        (setting("images", file_name=12), r"images\[0\]: file_name is 12; it must be the name of a file"),
        (setting("images", file_name=None), r"images\[0\]: file_name is null"),
        (setting("images", file_name="\ud800.png"), r"images\[0\]: file_name is "),
        (setting("annotations", bbox="1,2,3,4"), 'annotation id 100: bbox is "1,2,3,4"'),
        (setting("annotations", bbox=[[1, 2], [3, 4]]), r"annotation id 100: bbox is \[\[1, 2\], \[3, 4\]\]"),
        (setting("annotations", bbox=[10**400, 2, 3, 4]), "annotation id 100: bbox is "),
        (setting("annotations", bbox={"x": 1}), "annotation id 100: bbox is "),
        (setting("annotations", iscrowd=[]), r"annotation id 100: iscrowd is \[\]; it must be 0 or 1"),
        (setting("annotations", ignore="maybe"), 'annotation id 100: ignore is "maybe"'),
        (lambda value: value.update(images=[None]), r"images\[0\] is null"),
        (lambda value: value.update(annotations=[[1]]), r"annotations\[0\] is \[1\]"),
        (lambda value: value["images"][1].update(id="0"), r'images\[0\] and images\[1\] have the same id \(0, "0"\)'),
        (lambda value: value["categories"][0].update(id="3"), r'have the same id \("3", 3\)'),
        (setting("annotations", image_id=lambda i: i + 50), "none of the 8 annotations belongs to an image: .*50"),
    ],
)
def test_what_cannot_be_is_refused_naming_file_and_object(tmp_path, change, says):
    write_set(tmp_path, change)
    with pytest.raises(UserError, match=rf"train\.json: .*{says}"):
        read(tmp_path)


def test_an_id_that_may_be_two_is_refused(tmp_path):
    def change(value):
        value["images"][0]["id"], value["images"][1]["id"] = "07", "007"
        value["annotations"][0]["image_id"], value["annotations"][1]["image_id"] = "07", 7
        value["images"][7]["id"], value["annotations"][7]["image_id"] = "x", "x"

    write_set(tmp_path, change)
    with pytest.raises(UserError, match=r'annotation id 101: image_id 7 may be "07" or "007" in images'):
        read(tmp_path)


@pytest.mark.parametrize("size", ["64", 64.0])
def test_a_size_in_text_is_a_size(tmp_path, size):
    write_set(tmp_path, setting("images", width=size, height="48"))
    assert read(tmp_path).defects == ()


@pytest.mark.parametrize("size", ["wide", float("inf"), float("nan"), [64], None, True])
def test_a_size_that_is_none_is_counted_and_the_files_is_used(tmp_path, size):
    write_set(tmp_path, setting("images", width=size))
    data = read(tmp_path)
    assert kinds(data) == {"wrong_size": 8}
    assert data.splits["train"][0].size_wh == (64, 48)


@pytest.mark.parametrize(
    ("flag", "value", "yes"),
    [
        ("iscrowd", "0", False),
        ("iscrowd", "1", True),
        ("iscrowd", "false", False),
        ("iscrowd", "True", True),
        ("iscrowd", 1.0, True),
        ("iscrowd", "", False),
        ("ignore", "true", True),
        ("ignore", "False", False),
        ("difficult", "yes", True),
        ("difficult", "no", False),
    ],
)
def test_flags_in_words_are_read(tmp_path, flag, value, yes):
    write_set(tmp_path, setting("annotations", **{flag: value}))
    assert [image.ignore.tolist() for image in read(tmp_path).splits["train"]] == [[yes]] * 8


# ------------------------------------------------------------------------------------------------- classes


@pytest.mark.parametrize("name", ["background", "__background__", "Background"])
def test_an_unused_background_is_left_out_and_said_and_a_used_one_kept(tmp_path, name):
    categories = [{"id": 1, "name": "cat"}, {"id": 0, "name": name}]
    write_set(tmp_path, lambda value: None, categories=categories)
    data = read(tmp_path)
    assert data.class_names == ("cat",)
    assert kinds(data) == {"no_class": 2}
    assert data.defects[0].where == f'train.json: category "{name}", which has no object, is the background'
    write_set(tmp_path, lambda value: value["annotations"][0].update(category_id=0), categories=categories)
    assert set(read(tmp_path).class_names) == {name, "cat"}


def test_names_that_differ_in_case_alone_are_said(tmp_path):
    categories = [
        {"id": 1, "name": "Cat"},
        {"id": 2, "name": "cat"},
        {"id": 3, "name": "dog "},
        {"id": 4, "name": "dog"},
    ]
    write_set(tmp_path, lambda value: None, categories=categories)
    data = read(tmp_path)
    assert len(data.class_names) == 4
    similar = [defect.where for defect in data.defects if defect.kind == "similar_names"]
    assert similar == ["'Cat' and 'cat'", "'dog ' and 'dog'"]


# ------------------------------------------------------------------------------------------------- which json


@pytest.mark.parametrize(
    "other",
    [{"name": "pets", "classes": ["cat"]}, {"version": 1, "shapes": []}, [1, 2], 3, {"images": "none"}],
)
def test_the_one_json_that_is_coco_is_the_one(tmp_path, other):
    draw(tmp_path, *(f"data/{name}" for name in PICTURES))
    write(tmp_path, "labels.json", content(*PICTURES))
    write(tmp_path, "metadata.json", other)
    assert len(read(tmp_path).splits["train"]) == 6


def test_several_that_may_be_it_are_listed_with_the_setting(tmp_path):
    draw(tmp_path, *PICTURES)
    write(tmp_path, "labels.json", content(*PICTURES[:4]))
    write(tmp_path, "more.json", content(*PICTURES[4:]))
    with pytest.raises(
        UserError, match=r"labels\.json, more\.json\. Say which: dataset\.train_json=…, and dataset\.val"
    ):
        read(tmp_path)
    assert len(read(tmp_path, train_json="labels.json").splits["train"]) == 3
    assert len(read(tmp_path, train_split="all").splits["train"]) == 6


def test_a_coco_json_of_no_split_beside_those_of_splits_is_counted(tmp_path):
    write_set(tmp_path, lambda value: None)
    write(tmp_path, "extra.json", content("x.png"))
    assert [(d.kind, d.where) for d in read(tmp_path).defects] == [("unused_json", "extra.json")]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"shapes": [], "imagePath": "a.png"}, "labelme's file of one image"),
        ({"a.png12": {"filename": "a.png", "regions": []}}, "looks like VIA"),
        ({"_via_img_metadata": {}}, "a project of VIA"),
        ([{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}], "detections, not annotations"),
        ([{"id": 1, "annotations": [], "data": {}}], "Label Studio"),
        ([], "a list of 0"),
        ("x", 'it is "x"'),
        ({}, "it holds nothing"),
    ],
)
def test_what_is_no_coco_is_told_what_it_looks_like(tmp_path, value, says):
    draw(tmp_path, "a.png")
    write(tmp_path, "labels.json", value)
    for settings in ({}, {"train_json": "labels.json"}):
        with pytest.raises(UserError, match=rf"labels\.json: .*{says}"):
            read(tmp_path, **settings)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b'{"images": [\n  {"id": 1,}\n]}', "line 2, column 12: "),
        (b"", "line 1, column 1: the file is empty"),
        (b'{"images":\n"\xff\xfe"}', "line 2: not text in UTF-8"),
        (b"[" * 1_000_000, "its brackets are nested too deep"),
        (b'{"images": [' + b"9" * 5000 + b"]}", "digit"),
    ],
)
def test_a_broken_json_is_refused_with_its_place(tmp_path, text, says):
    (tmp_path / "train.json").write_bytes(text)
    with pytest.raises(UserError, match=rf"train\.json: not a readable json file \(.*{says}"):
        read(tmp_path)


# ------------------------------------------------------------------------------------------------- units


def drawn_boxes(value: dict[str, Any], rewrite) -> None:
    """Three boxes an image, anywhere in the picture of 64 x 48, written as `rewrite` of x, y, width, height has it."""
    rng = np.random.default_rng(0)
    value["annotations"] = [
        {
            "id": i,
            "image_id": i % 8,
            "category_id": 3,
            "bbox": [float(v) for v in rewrite(x * (64 - w), y * (48 - h), w, h)],
        }
        for i, (x, y, w, h) in enumerate(rng.random((24, 4)) * [1, 1, 20, 16] + [0, 0, 6, 6])
        if (x, y) <= (1, 1)
    ]


@pytest.mark.parametrize(
    ("rewrite", "says"),
    [
        (
            lambda x, y, w, h: (x / 64, y / 48, w / 64, h / 48),
            r"24 of the 24 boxes of the split train: they are shares",
        ),
        (lambda x, y, w, h: (x, y, x + w, y + h), r"have x1, y1, x2, y2 where x, y, width, height is due"),
        (lambda x, y, w, h: map(round, (x, y, x + w, y + h)), r"have x1, y1, x2, y2 where x, y, width, height is due"),
        (lambda x, y, w, h: (y, x, h, w), r"have y, x, height, width where x, y, width, height is due"),
        (
            lambda x, y, w, h: (63 - w / 2, 47 - h / 2, w, h),
            r"have x centre, y centre, width, height where x, y, width, height is due",
        ),
    ],
)
def test_other_units_and_corners_are_refused(tmp_path, rewrite, says):
    write_set(tmp_path, lambda value: drawn_boxes(value, rewrite))
    with pytest.raises(UserError, match=rf"train\.json: annotation id \d+: .*{says}"):
        read(tmp_path)
    write_set(tmp_path, lambda value: drawn_boxes(value, lambda *box: box))
    assert read(tmp_path).defects == ()


@pytest.mark.parametrize(
    ("bbox", "kind"),
    [
        ([1, 1, 64, 48], "clipped_box"),  # the whole picture, counted from 1
        ([-20, 30, 40, 10], "clipped_box"),  # beyond its edge, and neither corners nor a centre
        ([20, 15, 90, 60], "oversized_box"),  # of a larger picture
    ],
)
def test_boxes_that_leave_the_picture_but_are_no_corners_are_clipped(tmp_path, bbox, kind):
    write_set(tmp_path, setting("annotations", bbox=bbox))
    assert kinds(read(tmp_path)) == {kind: 8}


def doubts(boxes: np.ndarray, sizes: np.ndarray, form: Form) -> list[tuple[str, str]]:
    """Kind and place of each that `units.check` reports."""
    found = []
    report = lambda kind, where, _: found.append((kind, where))  # noqa: E731
    units.check("train", boxes, sizes, lambda _: "a.xml: object 1", form, report)
    return found


def test_the_same_doubt_serves_formats_with_corners():
    sizes = np.full((6, 2), 100.0)
    boxes = np.array([[40, 30, 20, 10]] * 6, dtype=float) + np.arange(6)[:, None]
    with pytest.raises(UserError, match=r"a\.xml: .* have x, y, width, height where x1, y1, x2, y2 is due"):
        doubts(boxes, sizes, Form.corners)
    with pytest.raises(UserError, match="shares of width and height"):
        doubts(boxes / 100, sizes, Form.corners)
    assert doubts(boxes[:3], sizes[:3], Form.corners) == []


def test_shares_that_are_alone_are_refused_however_alike_they_are():
    with pytest.raises(UserError, match="shares of width and height"):
        doubts(np.array([[0.1, 0.2, 0.5, 0.6]] * 4), np.full((4, 2), 100.0), Form.corners)


def sized(size_wh, bbox):
    """Pictures of 64 x 48 said to be of another size, with boxes in its pixels."""

    def change(value):
        setting("annotations", bbox=bbox)(value)
        setting("images", width=size_wh[0], height=size_wh[1])(value)

    return change


def test_boxes_that_fit_the_size_that_is_stated_and_not_the_picture_are_refused(tmp_path):
    """Scaled pictures, and the labels of before: nothing else would be seen of it than boxes cut at the edges."""
    write_set(tmp_path, sized((128, 96), [60, 50, 40, 30]))
    with pytest.raises(
        UserError, match=r"8 resized_image .*128x96 in the annotation, 64x48 in the picture.*=skip_image or keep"
    ):
        read(tmp_path)


def test_a_wrong_size_is_only_counted_where_the_boxes_lie_in_the_picture(tmp_path):
    write_set(tmp_path, sized((128, 96), [6, 5, 40, 30]))
    assert kinds(read(tmp_path)) == {"wrong_size": 8}


def test_a_few_normalised_boxes_among_pixels_are_counted_and_percents_doubted():
    rng = np.random.default_rng(1)
    low = rng.random((60, 2)) * 80
    boxes = np.hstack([low, low + 20])
    sizes = np.full((60, 2), 400.0)
    ((kind, where),) = doubts(boxes, sizes, Form.xywh)
    assert (kind, "are these percent?" in where) == ("doubtful_units", True)
    boxes[:4], boxes[4:] = boxes[:4] / 100, boxes[4:] * 4
    assert [kind for kind, _ in doubts(boxes, sizes, Form.xywh)] == ["box_in_first_pixel"] * 4


def test_names_of_the_settings_are_those_of_the_message(tmp_path):
    """A remedy that is typed as it is shown works."""
    draw(tmp_path, *PICTURES)
    write(tmp_path, "a.json", content(*PICTURES[:4]))
    write(tmp_path, "b.json", content(*PICTURES[4:]))
    with pytest.raises(UserError) as error:
        read(tmp_path)
    found = re.findall(r"dataset\.(\w+)=", str(error.value))
    assert found == ["root", "train_json", "val_json", "train_split"]
    assert names(read(tmp_path, train_json="a.json", val_json="b.json")).keys() == {"train", "val"}
