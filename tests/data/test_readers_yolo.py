from pathlib import Path

import PIL.Image
import pytest

from headstart.config.schema import YoloConfig
from headstart.data.readers import yolo
from headstart.errors import UserError

LINE = "1 0.5 0.5 0.25 0.5"  # in 64 x 48 pixels: 24, 12, 40, 36


def write(root: Path, image: str, label: str | None, text: str = LINE) -> None:
    (root / image).parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (64, 48), (sum(image.encode()) % 256, len(image), 0)).save(root / image)
    if label is not None:
        (root / label).parent.mkdir(parents=True, exist_ok=True)
        (root / label).write_text(text)


def two_splits(root: Path, text: str = LINE) -> None:
    write(root, "images/train/a.png", "labels/train/a.txt", text)
    write(root, "images/val/b.png", "labels/val/b.txt", "0 0.5 0.5 1 1")


def read(root: Path, **settings):
    return yolo.read(YoloConfig(name="mine", root=str(root), **settings))


def names(data) -> dict[str, list[str]]:
    return {split: [Path(image.name).stem for image in images] for split, images in data.splits.items()}


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/{}/{}.png", "labels/{}/{}.txt"),
        ("{}/images/{}.png", "{}/labels/{}.txt"),
        ("nested/{}/images/{}.png", "nested/{}/labels/{}.txt"),
        ("{}/{}.png", "{}/{}.txt"),
    ],
)
def test_folders_named_after_splits_are_the_splits(tmp_path, image, label):
    for split in ("train", "valid"):
        write(tmp_path, image.format(split, split), label.format(split, split))
    data = read(tmp_path)
    assert names(data) == {"train": ["train"], "val": ["valid"]}
    assert data.splits["train"][0].boxes_xyxy.tolist() == [[24, 12, 40, 36]]
    assert data.class_names == ("class0", "class1")


def test_one_folder_is_split_by_image(tmp_path):
    for number in range(10):
        write(tmp_path, f"images/{number}.png", f"labels/{number}.txt")
    assert {split: len(images) for split, images in read(tmp_path).splits.items()} == {"train": 8, "val": 2}


@pytest.mark.parametrize("listed", ["names: [cat, dog]", "names: {0: cat, 1: dog}", "names:\n  1: dog\n  0: cat"])
@pytest.mark.parametrize("path", ["", "path: .", "path: ../datasets/mine", "path: /home/someone/else"])
def test_data_yaml_names_classes_and_splits(tmp_path, listed, path):
    write(tmp_path, "first/images/a.png", "first/labels/a.txt")
    write(tmp_path, "second/images/b.png", "second/labels/b.txt")
    (tmp_path / "data.yaml").write_text(f"{path}\ntrain: ../first/images\nval: second/images\n{listed}\n")
    data = read(tmp_path)
    assert names(data) == {"train": ["a"], "val": ["b"]}
    assert data.class_names == ("cat", "dog")


def test_data_yaml_may_give_lists_of_files_and_of_folders(tmp_path):
    for name in "abc":
        write(tmp_path, f"images/{name}/{name}.png", f"labels/{name}/{name}.txt")
    (tmp_path / "val.txt").write_text("./images/c/c.png\n")
    (tmp_path / "data.yaml").write_text("train: [images/a, images/b]\nval: val.txt\nnames: [cat, dog]\n")
    assert names(read(tmp_path)) == {"train": ["a", "b"], "val": ["c"]}


def test_data_yaml_that_points_nowhere_is_refused(tmp_path):
    two_splits(tmp_path)
    (tmp_path / "data.yaml").write_text("train: images/gone\nval: images/val\nnames: [cat, dog]\n")
    with pytest.raises(UserError, match=r"data.yaml: train: images/gone does not exist \(tried .*images/gone\)"):
        read(tmp_path)


@pytest.mark.parametrize("place", ["classes.txt", "labels/classes.txt", "labels/train/classes.txt", "obj.names"])
def test_lists_of_names_are_found(tmp_path, place):
    two_splits(tmp_path)
    (tmp_path / place).write_text("cat\nguide dog\n")
    assert read(tmp_path).class_names == ("cat", "guide dog")


def test_class_names_number_the_classes_where_no_file_does_and_reorder_them_where_one_does(tmp_path):
    two_splits(tmp_path)
    data = read(tmp_path, class_names=["cat", "dog"])
    assert (data.class_names, data.splits["train"][0].labels.tolist()) == (("cat", "dog"), [1])
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    data = read(tmp_path, class_names=["cat", "dog"])
    assert (data.class_names, data.splits["train"][0].labels.tolist()) == (("cat", "dog"), [0])


def test_images_without_label_file_and_with_an_empty_one_are_negatives(tmp_path):
    two_splits(tmp_path)
    write(tmp_path, "images/train/none.png", None)
    write(tmp_path, "images/train/empty.png", "labels/train/empty.txt", "\n")
    data = read(tmp_path, class_names=["cat", "dog"])
    assert [len(image.labels) for image in data.splits["train"]] == [1, 0, 0]
    assert [(defect.kind, defect.image) for defect in data.defects] == [("unlabelled_image", "images/train/none.png")]
    assert names(read(tmp_path, on={"unlabelled_image": "skip_image"}))["train"] == ["a", "empty"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 0.5 0.5 0.5", r"a\.txt:1: 4 values; a line holds five"),
        ("0 .5 .5 .5 .5\n\n0 .1 .1 .2 .1 .2 .2", r"a\.txt:3: 7 values"),
        ("0 32 24 16 24", r"a\.txt:1: 32 24 16 24 are no shares"),
        ("cat 0.5 0.5 0.5 0.5", r"a\.txt:1: 'cat 0.5 0.5 0.5 0.5' are not five numbers"),
        ("2 0.5 0.5 0.5 0.5", r"a\.txt:1: class 2 does not exist; there are 2 classes"),
        ("-1 0.5 0.5 0.5 0.5", r"a\.txt:1: class -1 does not exist"),
        ("0.5 0.5 0.5 0.5 0.5", r"a\.txt:1: class 0.5 does not exist"),
    ],
)
def test_what_cannot_be_read_is_refused_naming_file_and_line(tmp_path, text, says):
    two_splits(tmp_path, text)
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(UserError, match=says):
        read(tmp_path)


def test_a_split_without_any_label_file_is_refused(tmp_path):
    two_splits(tmp_path)
    write(tmp_path, "images/test/c.png", None)
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/test\nnames: [cat, dog]\n")
    with pytest.raises(UserError, match=r"no image of the split val has a label file; .*labels/test/c\.txt"):
        read(tmp_path)


@pytest.mark.parametrize("place", ["images/test", "images/nowhere"])
def test_a_test_split_without_labels_that_the_data_yaml_names_is_left_out_and_said(tmp_path, place):
    two_splits(tmp_path)
    write(tmp_path, "images/test/c.png", None)
    (tmp_path / "data.yaml").write_text(f"train: images/train\nval: images/val\ntest: {place}\nnames: [cat, dog]\n")
    data = read(tmp_path)
    assert names(data) == {"train": ["a"], "val": ["b"]}
    assert [defect.kind for defect in data.defects] == ["unlabelled_test"]
    with pytest.raises(UserError, match="test"):
        read(tmp_path, test_split="test")
    assert read(tmp_path, test_split="none").defects == ()


def test_a_test_split_is_found(tmp_path):
    two_splits(tmp_path)
    write(tmp_path, "images/test/c.png", "labels/test/c.txt")
    assert names(read(tmp_path)) == {"train": ["a"], "val": ["b"], "test": ["c"]}
    (tmp_path / "data.yaml").write_text("train: images/train\ntest: images/test\nnames: [cat, dog]\n")
    write(tmp_path, "images/train/d.png", "labels/train/d.txt")
    data = read(tmp_path)
    assert sorted(names(data)["train"] + names(data)["val"]) == ["a", "d"]
    assert names(data)["test"] == ["c"]


def test_boxes_a_little_outside_are_clipped_and_counted(tmp_path):
    two_splits(tmp_path, "0 0.9 0.5 0.5 0.5\n0 0.5 0.5 1.000001 1")
    data = read(tmp_path, class_names=["cat", "dog"])
    assert data.splits["train"][0].boxes_xyxy[:, 2].tolist() == pytest.approx([64, 64])
    assert [defect.kind for defect in data.defects] == ["clipped_box"]


def test_no_labels_at_all_says_what_was_looked_for(tmp_path):
    write(tmp_path, "images/a.png", None)
    with pytest.raises(UserError, match=r"no image with a label file \(1 images\). Looked for data.yaml"):
        read(tmp_path)
