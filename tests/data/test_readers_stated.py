"""What a YOLO or VOC data set states of its splits, labels and classes is read, or refused; never guessed."""

from collections import Counter

import pytest

from headstart.errors import UserError
from tests.data import test_readers_voc as voc
from tests.data.test_readers_yolo import LINE, names, read, two_splits, write

CLASSES = ["cat", "dog"]


def kinds(data) -> dict[str, int]:
    return dict(Counter(defect.kind for defect in data.defects))


def cvat(root, prefix="data/", train="Train.txt", valid="Validation.txt"):
    """As CVAT writes it: obj_Train_data/, and lists with a prefix that is no folder."""
    for split, letters in (("Train", "abcd"), ("Validation", "xy")):
        for name in letters:
            write(root, f"obj_{split}_data/{name}.png", f"obj_{split}_data/{name}.txt")
    (root / train).write_text("".join(f"{prefix}obj_Train_data/{name}.png\n" for name in "abcd"))
    (root / valid).write_text("".join(f"{prefix}obj_Validation_data/{name}.png\r\n" for name in "xy"))
    (root / "obj.names").write_text("cat\ndog\n")
    (root / "obj.data").write_text(
        f"classes = 2\ntrain = data/{train}\nvalid = data/{valid}\nnames = data/obj.names\nbackup = backup/\n"
    )


STATED = {"train": [*"abcd"], "val": [*"xy"]}


@pytest.mark.parametrize("prefix", ["data/", "", "./", "/content/darknet/data/", "data\\"])
def test_darknets_lists_are_the_splits_whatever_folder_they_were_written_in(tmp_path, prefix):
    cvat(tmp_path, prefix)
    data = read(tmp_path)
    assert names(data) == STATED
    assert data.class_names == ("cat", "dog")
    assert data.defects == ()


def test_lists_alone_are_the_splits_and_add_what_obj_data_leaves_out(tmp_path):
    cvat(tmp_path)
    (tmp_path / "obj.data").unlink()
    assert names(read(tmp_path)) == STATED
    (tmp_path / "obj.data").write_text("train = data/Train.txt\n")
    assert names(read(tmp_path)) == STATED


def test_lists_that_ultralytics_drew_are_the_splits(tmp_path):
    cvat(tmp_path, "./", "autosplit_train.txt", "autosplit_val.txt")
    (tmp_path / "obj.data").unlink()
    assert names(read(tmp_path)) == STATED


def test_a_listed_name_with_blanks_is_matched_as_a_whole_and_reported_as_a_whole(tmp_path):
    cvat(tmp_path)
    write(tmp_path, "obj_Train_data/my cat 1.png", "obj_Train_data/my cat 1.txt")
    with (tmp_path / "Train.txt").open("a") as file:
        file.write("data/obj_Train_data/my cat 1.png\ndata/obj_Train_data/not there 2.png\n")
    data = read(tmp_path)
    assert names(data)["train"] == [*"abcd", "my cat 1"]
    assert [defect.where for defect in data.defects] == ["data/obj_Train_data/not there 2.png, listed for train"]


def test_a_listed_name_that_fits_two_files_is_refused_and_both_are_shown(tmp_path):
    cvat(tmp_path)
    write(tmp_path, "one/q.png", "one/q.txt")
    write(tmp_path, "two/q.png", "two/q.txt")
    (tmp_path / "Train.txt").write_text("data/obj_Train_data/a.png\nold/q.png\n")
    with pytest.raises(UserError, match=r"Train\.txt:2: 'old/q\.png' fits 2 files, such as .*one/q\.png and .*two/q"):
        read(tmp_path)


def test_a_list_that_is_not_there_is_refused_and_not_drawn_anew(tmp_path):
    cvat(tmp_path)
    (tmp_path / "Validation.txt").unlink()
    with pytest.raises(UserError, match=r"obj\.data: valid: data/Validation\.txt does not exist"):
        read(tmp_path)


def test_two_files_that_name_splits_are_refused_unless_one_is_chosen(tmp_path):
    cvat(tmp_path)
    (tmp_path / "data.yaml").write_text("train: obj_Validation_data\nval: obj_Train_data\nnames: [cat, dog]\n")
    with pytest.raises(UserError, match=r"data\.yaml and .*obj\.data both name splits.*dataset\.data_yaml"):
        read(tmp_path)
    assert names(read(tmp_path, data_yaml="obj.data")) == STATED
    assert names(read(tmp_path, data_yaml="data.yaml")) == {"train": [*"xy"], "val": [*"abcd"]}


def test_a_list_against_the_folders_names_is_refused(tmp_path):
    two_splits(tmp_path)
    (tmp_path / "train.txt").write_text("images/val/b.png\n")
    (tmp_path / "val.txt").write_text("images/train/a.png\n")
    with pytest.raises(UserError, match=r"lies in a folder .* lists it for .*dataset\.data_yaml"):
        read(tmp_path)


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("layout", ["images/{}/{}.png", "{}/images/{}.png", "{}/{}.png"])
def test_a_split_without_a_label_is_refused_and_not_left_out(tmp_path, split, layout):
    other = {"train": "val", "val": "train"}[split]
    for name in "abc":
        image = layout.format(other, name)
        write(tmp_path, image, image.replace("images", "labels").replace(".png", ".txt"))
        write(tmp_path, layout.format(split, name), None)
    with pytest.raises(UserError, match=rf"{split}.*: no image of the split {split} has a label file; there are 3"):
        read(tmp_path)


def test_a_split_without_a_label_is_left_out_when_asked(tmp_path):
    for name in "abcde":
        write(tmp_path, f"images/train/{name}.png", f"labels/train/{name}.txt")
    write(tmp_path, "images/val/v.png", None)
    data = read(tmp_path, val_split="none")
    assert {split: len(images) for split, images in data.splits.items()} == {"train": 4, "val": 1}
    assert "v" not in names(data)["train"] + names(data)["val"]


def test_a_voc_split_without_an_xml_is_refused_and_not_left_out(tmp_path):
    voc.write(tmp_path, "images/train/a.png", "annotations/train/a.xml", voc.CAT)
    voc.write(tmp_path, "images/train/b.png", "annotations/train/b.xml", voc.CAT)
    voc.write(tmp_path, "images/val/c.png", None)
    with pytest.raises(UserError, match=r"images/val: no image of the split val has a label file"):
        voc.read(tmp_path)
    assert {*voc.read(tmp_path, val_split="none").splits} == {"train", "val"}


@pytest.mark.parametrize(
    "label", ["labels/img_{}.txt", "labels/IMG_{}.TXT", "LABELS/Img_{}.txt", "labels/IMG_{}.png.txt"]
)
def test_labels_that_differ_in_letter_case_or_suffix_are_matched(tmp_path, label):
    for number in range(5):
        write(tmp_path, f"images/IMG_{number}.png", label.format(number))
    data = read(tmp_path, class_names=CLASSES)
    assert [len(image.labels) for images in data.splits.values() for image in images] == [1] * 5
    renamed = "img" in label or "Img" in label
    assert kinds(data) == ({"other_case": 5} if renamed else {})


def test_a_label_that_fits_two_pictures_by_case_is_given_to_neither(tmp_path):
    two_splits(tmp_path)
    for name in ("pQ", "pq"):
        write(tmp_path, f"images/train/{name}.png", None)
    for name in ("c", "d"):
        write(tmp_path, f"images/train/{name}.png", f"labels/train/{name}.txt")
    (tmp_path / "labels/train/PQ.txt").write_text(LINE)
    data = read(tmp_path, class_names=CLASSES)
    assert [len(image.labels) for image in data.splits["train"]] == [1, 1, 1, 0, 0]
    assert kinds(data) == {"label_without_image": 1, "unlabelled_image": 2}


@pytest.mark.parametrize("label", ["new_{}.txt", "IMG_{}_jpg.txt"])
def test_most_pictures_without_a_label_while_labels_are_left_over_is_refused(tmp_path, label):
    two_splits(tmp_path)
    for number in range(4):
        write(tmp_path, f"images/train/IMG_{number}.png", "labels/train/" + label.format(number))
    with pytest.raises(
        UserError,
        match=r"4 of the 5 images of the split train have no label file, such as images/.*"
        r"4 label files have no image, such as labels/train",
    ):
        read(tmp_path)


def test_a_few_labels_without_a_picture_are_counted_and_other_texts_are_not(tmp_path):
    two_splits(tmp_path)
    (tmp_path / "labels/train/gone.txt").write_text(LINE)
    (tmp_path / "labels/train/empty.txt").write_text("")
    (tmp_path / "labels/train/notes.txt").write_text("made by hand\n")
    (tmp_path / "README.txt").write_text("1 2 3\n")
    data = read(tmp_path, class_names=CLASSES)
    assert [(defect.kind, defect.where) for defect in data.defects] == [
        ("label_without_image", "labels/train/empty.txt"),
        ("label_without_image", "labels/train/gone.txt"),
    ]


def test_two_different_labels_of_one_picture_are_refused(tmp_path):
    two_splits(tmp_path)
    (tmp_path / "images/train/a.txt").write_text("0 0.1 0.1 0.1 0.1\n")
    with pytest.raises(UserError, match=r"labels/train/a\.txt and .*images/train/a\.txt are both the label file"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("Images/{}/x{}.png", "Labels/{}/x{}.txt"),
        ("IMAGES/{}/x{}.png", "labels/{}/x{}.txt"),
        ("{}/Images/x{}.png", "{}/labels/x{}.txt"),
        ("JPEGImages/{}/x{}.png", "labels/{}/x{}.txt"),
    ],
)
@pytest.mark.parametrize("splits", [("Train", "Val"), ("TRAIN", "Validation")])
@pytest.mark.parametrize("small", [False, True])
def test_letter_case_of_known_folders_does_not_matter(tmp_path, image, label, splits, small):
    for split, name in zip(splits, "ab", strict=True):
        write(tmp_path, image.format(split, name), label.format(split.lower() if small else split, name))
    assert names(read(tmp_path)) == {"train": ["xa"], "val": ["xb"]}
    assert names(read(tmp_path, val_split=splits[1])) == {"train": ["xa"], "val": ["xb"]}
    lines = (
        f"{key}: {image.format(split, 'x').rpartition('/')[0].lower()}"
        for key, split in zip(("Train", "val"), splits, strict=True)
    )
    (tmp_path / "data.yaml").write_text("\n".join([*lines, "names: [cat, dog]"]))
    assert names(read(tmp_path)) == {"train": ["xa"], "val": ["xb"]}


@pytest.mark.parametrize("place", ["train/classes.txt", "Classes.txt", "train/labels/classes.txt", "my.names"])
def test_names_are_found_beside_the_pictures(tmp_path, place):
    write(tmp_path, "train/a.png", "train/a.txt")
    write(tmp_path, "val/b.png", "val/b.txt")
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("cat\nguide dog\n")
    data = read(tmp_path)
    assert data.class_names == ("cat", "guide dog")
    assert data.defects == ()


@pytest.mark.parametrize(("one", "other"), [("train/classes.txt", "val/classes.txt"), ("classes.txt", "data.yaml")])
def test_files_that_name_the_classes_differently_are_refused(tmp_path, one, other):
    write(tmp_path, "train/a.png", "train/a.txt")
    write(tmp_path, "val/b.png", "val/b.txt")
    (tmp_path / one).write_text("cat\ndog\n")
    (tmp_path / other).write_text("names: [dog, cat]\n" if other.endswith("yaml") else "dog\ncat\n")
    with pytest.raises(UserError, match="name different classes"):
        read(tmp_path)


@pytest.mark.parametrize("text", ["cat\n\ndog\n", "\ncat\ndog\n"])
def test_an_empty_line_among_the_names_is_refused_for_it_would_move_the_numbers(tmp_path, text):
    two_splits(tmp_path)
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(UserError, match=r"classes\.txt:\d: an empty line"):
        read(tmp_path)


@pytest.mark.parametrize(
    "listed", ["{0: off, 1: on, 2: 010}", "[off, on, 010]", "\n  2: 010\n  0: off\n  1: on", "\n- off\n- on\n- 010"]
)
def test_names_are_what_is_written_and_no_booleans_or_numbers(tmp_path, listed):
    two_splits(tmp_path)
    (tmp_path / "data.yaml").write_text(f"train: images/train\nval: images/val\nnc: 3\nnames: {listed}\n")
    assert read(tmp_path).class_names == ("off", "on", "010")


def test_names_that_look_like_dates_nulls_and_floats_stay_texts(tmp_path):
    two_splits(tmp_path)
    (tmp_path / "data.yaml").write_text("names: [2024-01-01, null, 1.10, 1e3, 0x1F, yes, '12:30', 1_000]\n")
    expected = ("2024-01-01", "null", "1.10", "1e3", "0x1F", "yes", "12:30", "1_000")
    assert read(tmp_path).class_names == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("names: cat", r"data\.yaml: names: 'cat' is a text; write a list"),
        ("names: cat, dog", r"names: 'cat, dog' is a text"),
        ("names: [cat, [dog]]", r"names: class 1 is \['dog'\]"),
        ("names: [cat, {name: dog}]", r"names: class 1 is \{'name': 'dog'\}"),
        ("names: {0: cat, 2: dog}", r"names must be numbered 0 to 1 without gaps, not \['0', '2'\]"),
        ("names: {cat: 0, dog: 1}", r"names must be numbered 0 to 1"),
        ("names: [cat, dog, cat]", r"two classes are called 'cat'"),
        ("names: [cat, dog]\nnc: 3", r"nc: '3', but names has 2 classes"),
        ("names: [cat, dog]\ntrain: {a: b}", r"train: \{'a': 'b'\} must be a folder"),
        ("names: [cat, dog]\ntrain: [[a]]", r"train: \[\['a'\]\] must be a folder"),
        ("names: [cat, dog]\ntrain: false", r"train: false does not exist"),
        ("names: [cat, dog]\npath: [a]", r"path: \['a'\] must be the path of a folder"),
        ("names: {0: cat, 0: dog}", r"not a readable YAML file \(line 1, column 8: a key stands twice"),
        ("names: [cat", r"not a readable YAML file"),
        ("names: " + "[" * 3000, r"not a readable YAML file"),
    ],
)
def test_wrong_types_in_a_data_yaml_are_refused_naming_key_and_value(tmp_path, text, says):
    two_splits(tmp_path)
    (tmp_path / "data.yaml").write_text(text + "\n")
    with pytest.raises(UserError, match=says):
        read(tmp_path)


def test_a_data_yaml_without_names_gives_the_splits(tmp_path):
    for name in "abc":
        write(tmp_path, f"{name}/{name}.png", f"{name}/{name}.txt")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    (tmp_path / "data.yaml").write_text("train: [a, b]\nval: c\nnames:\n")
    data = read(tmp_path)
    assert names(data) == {"train": ["a", "b"], "val": ["c"]}
    assert data.class_names == ("cat", "dog")


@pytest.mark.parametrize("target", ["images", "image"])
def test_a_stated_folder_or_file_that_a_link_leads_out_of_the_data_set_is_refused(tmp_path, target):
    root = tmp_path / "data"
    two_splits(root)
    write(tmp_path / "elsewhere", "images/s.png", "labels/s.txt")
    (root / "data.yaml").write_text("train: first\nval: images/val\nnames: [cat, dog]\n")
    if target == "images":
        (root / "first").symlink_to("../elsewhere/images")
    else:
        (root / "s.png").symlink_to("../elsewhere/images/s.png")
        (root / "first").mkdir()
        (root / "data.yaml").write_text("train: first.txt\nval: images/val\nnames: [cat, dog]\n")
        (root / "first.txt").write_text("s.png\n")
    with pytest.raises(UserError, match="out of the data set's folder"):
        read(root)


SOME = "abcdefgh"


def pascal(root) -> None:
    for name in SOME:
        voc.write(root, f"JPEGImages/{name}.png", f"Annotations/{name}.xml", voc.CAT)


PASCAL = {"train": [*"abcdef"], "val": [*"gh"]}


@pytest.mark.parametrize(
    ("train", "val", "line"),
    [
        ("train.txt", "val.txt", "{}"),
        ("Train.txt", "Valid.txt", "{}.png"),
        ("train.txt", "val.txt", "JPEGImages/{0}.png Annotations/{0}.xml"),  # as PaddleDetection writes them
        ("train.txt", "val.txt", "./JPEGImages/{0}.png ./Annotations/{0}.xml"),
    ],
)
def test_lists_beside_the_folders_of_pascal_voc_are_the_splits(tmp_path, train, val, line):
    pascal(tmp_path)
    (tmp_path / train).write_text("".join(f"{line.format(name)}\n" for name in "abcdef"))
    (tmp_path / val).write_text("".join(f"{line.format(name)}\n" for name in "gh"))
    data = voc.read(tmp_path)
    assert names(data) == PASCAL
    assert data.unused == {}


def test_lists_of_single_classes_are_the_splits_where_there_are_no_others(tmp_path):
    """Each names every picture of the split, with a flag: whether the class is in it."""
    pascal(tmp_path)
    sets = tmp_path / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    for label in ("cat", "dog"):
        (sets / f"{label}_train.txt").write_text("a  1\nb -1\nc  0\nd  1\ne  1\nf  1\n")
        (sets / f"{label}_val.txt").write_text("g  1\nh -1\n")
    data = voc.read(tmp_path)
    assert names(data) == PASCAL
    assert data.defects == ()


def test_a_text_that_is_called_after_a_split_and_names_no_picture_is_no_list(tmp_path):
    pascal(tmp_path)
    (tmp_path / "test.txt").write_text("notes about the test\n")
    data = voc.read(tmp_path)
    assert {*names(data)} == {"train", "val"}
    assert data.unused["split_list"].first == ("test.txt",)


def test_corners_where_centres_are_due_are_refused(tmp_path):
    """As shares, too: cut at the edges, they would look like boxes."""
    for name in SOME:
        write(tmp_path, f"images/{name}.png", f"labels/{name}.txt", "0 0.55 0.6 0.9 0.95")
    with pytest.raises(UserError, match=r"\(0\.55, 0\.6, 0\.9, 0\.95\) .* have x1, y1, x2, y2 where x centre"):
        read(tmp_path)


def test_classes_without_names_are_said_to_be_numbered(tmp_path):
    for name in SOME:
        write(tmp_path, f"images/{name}.png", f"labels/{name}.txt")
    data = read(tmp_path)
    assert kinds(data) == {"unnamed_classes": 1}
    assert "dataset.class_names" in data.defects[0].where
    assert read(tmp_path, class_names=CLASSES).defects == ()


def test_a_data_yaml_without_keys_is_refused(tmp_path):
    """What it says of names and splits would be lost."""
    two_splits(tmp_path)
    (tmp_path / "data.yaml").write_text("- cat\n- dog\n")
    with pytest.raises(UserError, match=r"data\.yaml: has no keys"):
        read(tmp_path)


def test_labels_whose_pictures_are_called_otherwise_are_named(tmp_path):
    write(tmp_path, "images/a.png", "labels/a_png.rf.123.txt")
    with pytest.raises(UserError, match=r"1 label files without an image, such as labels/a_png\.rf\.123\.txt"):
        read(tmp_path)
