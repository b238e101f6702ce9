import json
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from headstart.config.schema import CocoConfig
from headstart.data.readers import coco
from headstart.errors import UserError

CATEGORIES = [{"id": 4, "name": "dog"}, {"id": 3, "name": "cat"}, {"id": 5, "name": "never seen"}]


def content(*file_names: str, categories: list[dict] = CATEGORIES, **more: Any) -> dict[str, Any]:
    """Every image has one object, of the first category in the list."""
    images = [{"id": i, "file_name": name, "width": 64, "height": 48} for i, name in enumerate(file_names)]
    box = {"category_id": categories[0]["id"], "bbox": [10, 20, 5.5, 6], "iscrowd": 0}
    annotations = [{"id": 100 + i, "image_id": i, **box} for i in range(len(images))]
    return {"images": images, "annotations": annotations, "categories": categories, **more}


def write(root: Path, path: str, value: dict[str, Any]) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(json.dumps(value))


def draw(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (64, 48), (sum(path.encode()) % 256, len(path), 0)).save(root / path)


def read(root: Path, **settings):
    return coco.read(CocoConfig(name="mine", root=str(root), **settings))


def names(data) -> dict[str, list[str]]:
    return {split: [image.name for image in images] for split, images in data.splits.items()}


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        ("annotations/instances_{}2017.json", "{}2017/"),
        ("annotations/instances_{}2017.json", "images/{}2017/"),
        ("annotations/custom_{}.json", "coco/{}2017/"),
        ("{}/_annotations.coco.json", "{}/"),
        ("{}.json", "images/"),
        ("nested/annotations/{}.json", "nested/{}/"),
    ],
)
def test_layouts_with_splits(tmp_path, annotations, images):
    for split in ("train", "val"):
        write(tmp_path, annotations.format(split), content(f"{split}.png"))
        draw(tmp_path, images.format(split) + f"{split}.png")
    data = read(tmp_path)
    assert names(data) == {split: [images.format(split) + f"{split}.png"] for split in ("train", "val")}
    assert data.splits["val"][0].boxes_xyxy.tolist() == [[10, 20, 15.5, 26]]


def test_equal_names_in_both_splits_are_told_apart_by_the_folder(tmp_path):
    for split in ("train", "val"):
        write(tmp_path, f"annotations/instances_{split}2017.json", content("1.png"))
        draw(tmp_path, f"{split}2017/1.png")
    assert names(read(tmp_path)) == {"train": ["train2017/1.png"], "val": ["val2017/1.png"]}


def test_a_test_json_is_found_and_one_without_objects_is_left_out_and_said(tmp_path):
    for split in ("train", "val", "test"):
        write(tmp_path, f"annotations/instances_{split}.json", content(f"{split}.png"))
        draw(tmp_path, f"images/{split}.png")
    assert names(read(tmp_path))["test"] == ["images/test.png"]
    assert names(read(tmp_path, val_split="test"))["val"] == ["images/test.png"]
    write(tmp_path, "annotations/instances_test.json", {"images": [{"id": 0, "file_name": "test.png"}]})
    data = read(tmp_path)
    assert set(names(data)) == {"train", "val"}
    assert [defect.kind for defect in data.defects] == ["unlabelled_test"]


def test_named_json_files_are_all_there_is(tmp_path):
    for split in ("train", "val", "test"):
        write(tmp_path, f"{split}.json", content(*(f"{split}{number}.png" for number in range(5))))
        draw(tmp_path, *(f"{split}{number}.png" for number in range(5)))
    data = read(tmp_path, train_json="train.json", test_json="test.json")
    assert {split: len(images) for split, images in data.splits.items()} == {"train": 4, "val": 1, "test": 5}
    assert data.splits_from["val"] == "drawn: 0.2 of train.json, dataset.split_seed=0"
    with pytest.raises(UserError, match=r"test_fraction=0.2: the data set has a test split of its own, test\.json"):
        read(tmp_path, train_json="train.json", test_json="test.json", test_fraction=0.2)


def test_public_coco_has_other_json_files_which_are_left_alone(tmp_path):
    for split in ("train", "val"):
        write(tmp_path, f"annotations/instances_{split}2017.json", content(f"{split}.png"))
        write(tmp_path, f"annotations/captions_{split}2017.json", {})
        write(tmp_path, f"annotations/person_keypoints_{split}2017.json", {})
        write(tmp_path, f"annotations/mine_{split}2017.json", {})
        draw(tmp_path, f"{split}2017/{split}.png")
    assert len(read(tmp_path).splits["train"]) == 1


def test_one_json_alone_is_split_by_image(tmp_path):
    paths = [f"{i}.png" for i in range(10)]
    write(tmp_path, "annotations.json", content(*paths))
    draw(tmp_path, *paths)
    data = read(tmp_path)
    assert {split: len(images) for split, images in data.splits.items()} == {"train": 8, "val": 2}


def test_json_files_may_be_named(tmp_path):
    draw(tmp_path, "a.png", "b.png")
    write(tmp_path, "first.json", content("a.png"))
    write(tmp_path, "second.json", content("b.png"))
    assert names(read(tmp_path, train_json="first.json", val_json="second.json")) == {
        "train": ["a.png"],
        "val": ["b.png"],
    }
    with pytest.raises(UserError, match=r"dataset.val_json=third.json: .*third.json does not exist"):
        read(tmp_path, train_json="first.json", val_json="third.json")


def test_classes_are_ordered_by_id_without_gaps_and_unused_ones_are_kept(tmp_path):
    value = content("a.png", "b.png", "c.png")
    value["annotations"][1]["category_id"] = 3
    value["annotations"][2]["iscrowd"] = 1
    value["images"].append({"id": 9, "file_name": "negative.png", "width": 64, "height": 48})
    draw(tmp_path, "a.png", "b.png", "c.png", "negative.png", "v.png")
    write(tmp_path, "train.json", value)
    write(tmp_path, "val.json", content("v.png"))
    data = read(tmp_path)
    assert data.class_names == ("cat", "dog", "never seen")
    assert [image.labels.tolist() for image in data.splits["train"]] == [[1], [0], [1], []]
    assert [image.crowd.tolist() for image in data.splits["train"]] == [[False], [False], [True], []]


@pytest.mark.parametrize(
    ("said", "crowd", "difficult"),
    [
        ({"iscrowd": 1}, True, False),
        ({"ignore": 1}, False, True),
        ({"difficult": True}, False, True),
        ({"iscrowd": "0", "ignore": "0", "difficult": "1"}, False, True),
        ({"ignore": None, "difficult": "0"}, False, False),
    ],
)
def test_crowd_and_difficult_are_told_apart(tmp_path, said, crowd, difficult):
    draw(tmp_path, "a.png", "b.png")
    write(tmp_path, "train.json", broken(**said))
    write(tmp_path, "val.json", content("b.png"))
    (image,) = read(tmp_path).splits["train"]
    assert (image.crowd.tolist(), image.difficult.tolist()) == ([crowd], [difficult])
    assert image.ignore.tolist() == [crowd or difficult]


@pytest.mark.parametrize(
    ("said", "area", "defects"),
    [
        ({"area": 12.25}, 12.25, []),
        ({"area": 7}, 7, []),
        ({}, 33, []),
        ({"area": None}, 33, []),
        ({"area": 0}, 33, ["wrong_area"]),
        ({"area": -3.0}, 33, ["wrong_area"]),
        ({"area": float("nan")}, 33, ["wrong_area"]),
        ({"area": float("inf")}, 33, ["wrong_area"]),
        ({"area": "12"}, 33, ["wrong_area"]),
    ],
)
def test_an_objects_area_is_the_annotations_or_its_boxs(tmp_path, said, area, defects):
    """The box has 5.5 x 6 pixels."""
    draw(tmp_path, "a.png", "b.png")
    write(tmp_path, "train.json", broken(**said))
    write(tmp_path, "val.json", content("b.png"))
    data = read(tmp_path)
    assert data.splits["train"][0].area.tolist() == [area]
    assert [defect.kind for defect in data.defects] == defects
    assert all(defect.where.startswith("train.json: annotation id 100: ") for defect in data.defects)


def test_an_area_without_its_own_is_that_of_the_part_inside_the_image(tmp_path):
    draw(tmp_path, "a.png", "b.png")
    write(tmp_path, "train.json", broken(bbox=[54, 8, 20, 10]))
    write(tmp_path, "val.json", broken(bbox=[54, 8, 20, 10], area=150) | {"images": content("b.png")["images"]})
    assert [image.area.tolist() for split in read(tmp_path).splits.values() for image in split] == [[100], [150]]


def test_roboflow_supercategory_is_dropped_only_while_unused(tmp_path):
    categories = [
        {"id": 1, "name": "Apple", "supercategory": "fruits"},
        {"id": 0, "name": "fruits", "supercategory": "none"},
        {"id": 2, "name": "Boat", "supercategory": "fruits"},
    ]
    draw(tmp_path, "train/a.png", "valid/b.png")
    write(tmp_path, "train/_annotations.coco.json", content("a.png", categories=categories))
    write(tmp_path, "valid/_annotations.coco.json", content("b.png", categories=categories))
    assert read(tmp_path).class_names == ("Apple", "Boat")
    used = content("a.png", categories=categories)
    used["annotations"][0]["category_id"] = 0
    write(tmp_path, "train/_annotations.coco.json", used)
    assert read(tmp_path).class_names == ("fruits", "Apple", "Boat")


def test_val_may_number_the_classes_differently(tmp_path):
    draw(tmp_path, "a.png", "b.png")
    write(tmp_path, "train.json", content("a.png", categories=[{"id": 1, "name": "x"}, {"id": 2, "name": "y"}]))
    write(tmp_path, "val.json", content("b.png", categories=[{"id": 1, "name": "y"}, {"id": 2, "name": "x"}]))
    data = read(tmp_path)
    assert data.class_names == ("x", "y")
    assert [data.splits[split][0].labels.tolist() for split in ("train", "val")] == [[0], [1]]


def test_some_missing_images_are_defects_and_most_missing_is_refused(tmp_path):
    draw(tmp_path, "1.png", "2.png", "v.png")
    write(tmp_path, "val.json", content("v.png"))
    write(tmp_path, "train.json", content("1.png", "2.png", "3.png", "4.png"))
    data = read(tmp_path)
    assert names(data)["train"] == ["1.png", "2.png"]
    assert [defect.where for defect in data.defects] == ["train.json: 3.png", "train.json: 4.png"]
    write(tmp_path, "train.json", content("1.png", "2.png", "3.png", "4.png", "5.png"))
    with pytest.raises(
        UserError, match=r"train\.json: 3 of the 5 images of the split train are not there, such as 3\.png"
    ):
        read(tmp_path)


def broken(**changes: Any) -> dict[str, Any]:
    value = content("a.png")
    value["annotations"][0].update(changes)
    return value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"images": []}, "has no list 'annotations'"),
        (broken(bbox=[1, 2, 3]), r"annotation id 100: bbox is \[1, 2, 3\]"),
        (broken(bbox=None), "annotation id 100: bbox is null"),
        (broken(category_id=50), "annotation id 100: category_id 50 is not among the categories"),
        (content("a.png", categories=[{"id": 1, "name": "x"}, {"id": 2, "name": "x"}]), "same id or name"),
        ({**content("a.png"), "images": [{"id": 0}]}, r"images\[0\] has no 'file_name'"),
    ],
)
def test_what_cannot_be_read_is_refused_naming_file_and_object(tmp_path, value, says):
    draw(tmp_path, "a.png", "b.png")
    write(tmp_path, "train.json", value)
    write(tmp_path, "val.json", content("b.png"))
    with pytest.raises(UserError, match=rf"train\.json: .*{says}"):
        read(tmp_path)


def test_an_annotation_of_no_image_is_counted(tmp_path):
    draw(tmp_path, "a.png", "b.png")
    value = content("a.png")
    value["annotations"].append(value["annotations"][0] | {"image_id": 55})
    write(tmp_path, "train.json", value)
    write(tmp_path, "val.json", content("b.png"))
    (defect,) = read(tmp_path).defects
    assert (defect.kind, defect.action) == ("unknown_image", "dropped box")


def test_no_json_and_unreadable_json_say_so(tmp_path):
    with pytest.raises(UserError, match=r"no COCO json found\. Looked for annotations/instances_"):
        read(tmp_path)
    (tmp_path / "train.json").write_text('{"images": [')
    with pytest.raises(UserError, match=r"train\.json: not a readable json file"):
        read(tmp_path)


def test_two_json_files_of_one_split_are_refused(tmp_path):
    write(tmp_path, "train.json", content("a.png"))
    write(tmp_path, "train_new.json", content("a.png"))
    with pytest.raises(UserError, match=r"train_new\.json are both of the split train"):
        read(tmp_path)


def test_an_image_listed_twice_is_used_once_unless_its_objects_differ(tmp_path):
    draw(tmp_path, "a.png", "v.png")
    write(tmp_path, "val.json", content("v.png"))
    write(tmp_path, "train.json", content("a.png", "a.png"))
    data = read(tmp_path)
    assert names(data)["train"] == ["a.png"]
    assert [defect.kind for defect in data.defects] == ["listed_twice"]
    value = content("a.png", "a.png")
    for change in ({"bbox": [1, 2, 3, 4]}, {"iscrowd": 1}, {"ignore": 1}, {"area": 20.5}):
        value["annotations"][1] = value["annotations"][0] | {"image_id": 1} | change
        write(tmp_path, "train.json", value)
        with pytest.raises(UserError, match=r"1 described_twice .*: a\.png in train\.json and train\.json"):
            read(tmp_path)
