"""Which file a `file_name` is: never another split's picture of the same name."""

import PIL.Image
import pytest

from headstart.errors import UserError

from .test_readers_coco import content, draw, names, read, write

NAMES = ("0.png", "1.png", "2.png", "3.png")


def drawn(root, *folders: str, count: int = 4) -> None:
    draw(root, *(f"{folder}/{name}" for folder in folders for name in NAMES[:count]))


def write_both(root, train: str = "train.json", val: str = "val.json") -> None:
    """Equal names in both; the boxes differ."""
    write(root, train, content(*NAMES))
    other = content(*NAMES)
    for annotation in other["annotations"]:
        annotation["bbox"] = [1, 2, 8, 9]
    write(root, val, other)


def folders(data) -> dict[str, set[str]]:
    return {split: {name.rpartition("/")[0] for name in found} for split, found in names(data).items()}


def all_names(data) -> list[str]:
    return sorted(name for found in names(data).values() for name in found)


@pytest.mark.parametrize(
    ("val_json", "val_folder"),
    [
        ("val.json", "valid"),
        ("val.json", "validation"),
        ("valid.json", "val"),
        ("val.json", "Val"),
        ("VAL.json", "valid2/images/valid"),
        ("annotations/instances_val.json", "images/Validation"),
        ("val.json", "dev"),
    ],
)
def test_equal_names_are_those_of_the_splits_own_folder(tmp_path, val_json, val_folder):
    write_both(tmp_path, val_json.replace("valid", "train").replace("val", "train").replace("VAL", "train"), val_json)
    drawn(tmp_path, "train", val_folder)
    data = read(tmp_path)
    assert folders(data) == {"train": {"train"}, "val": {val_folder}}
    assert data.splits["val"][0].boxes_xyxy.tolist() == [[1, 2, 9, 11]]
    assert data.defects == ()


@pytest.mark.parametrize("places", [("val", "valid"), ("a/val", "b/val"), ("val", "images/valid")])
def test_two_folders_that_fit_are_shown_and_can_be_named(tmp_path, places):
    write_both(tmp_path)
    drawn(tmp_path, "train", *places)
    with pytest.raises(UserError) as error:
        read(tmp_path)
    for place in places:
        assert f"{tmp_path / place} (4 of 4)" in str(error.value)
    assert "Say which: dataset.val_images=<folder>" in str(error.value)
    for place in places:
        assert folders(read(tmp_path, val_images=place)) == {"train": {"train"}, "val": {place}}


def test_the_json_s_own_folder_and_that_of_its_name_are_a_question(tmp_path):
    write_both(tmp_path)
    drawn(tmp_path, "train", "val", ".")
    with pytest.raises(UserError, match=r"train\.json: its images may be .*Say which: dataset\.train_images=<folder>"):
        read(tmp_path)
    data = read(tmp_path, train_images="train", val_images=".")
    assert folders(data) == {"train": {"train"}, "val": {""}}


def test_a_name_is_relative_to_the_json(tmp_path):
    write(tmp_path, "annotations/labels.json", content(*(f"../images/{name}" for name in NAMES)))
    drawn(tmp_path, "images")
    data = read(tmp_path)
    assert (all_names(data), data.defects) == ([f"images/{name}" for name in NAMES], ())


def test_one_json_of_names_in_two_folders_is_asked_about(tmp_path):
    write(tmp_path, "labels.json", content(*NAMES))
    drawn(tmp_path, "front", "back")
    with pytest.raises(UserError, match=r"back \(4 of 4\) and .*front \(4 of 4\): .*dataset\.train_images=<folder>"):
        read(tmp_path)
    assert folders(read(tmp_path, train_images="front"))["train"] == {"front"}


def test_copies_of_the_same_pictures_are_no_question(tmp_path):
    write(tmp_path, "labels.json", content(*NAMES))
    drawn(tmp_path, "front")
    (tmp_path / "back").mkdir()
    for name in NAMES:
        (tmp_path / "back" / name).write_bytes((tmp_path / "front" / name).read_bytes())
    assert folders(read(tmp_path))["train"] == {"back"}


def test_sizes_tell_pictures_from_thumbnails(tmp_path):
    write(tmp_path, "labels.json", content(*NAMES))
    drawn(tmp_path, "front", "small")
    for name in NAMES:
        PIL.Image.new("RGB", (32, 24)).save(tmp_path / "small" / name)
    assert folders(read(tmp_path))["train"] == {"front"}


def test_masks_of_the_same_names_are_no_pictures(tmp_path):
    write_both(tmp_path)
    drawn(tmp_path, "train/images", "train/masks", "val/images", "val/masks")
    assert folders(read(tmp_path)) == {"train": {"train/images"}, "val": {"val/images"}}


def test_a_missing_picture_is_not_taken_from_another_split(tmp_path):
    write_both(tmp_path)
    drawn(tmp_path, "train")
    drawn(tmp_path, "valid", count=3)
    data = read(tmp_path)
    assert folders(data) == {"train": {"train"}, "val": {"valid"}}
    assert [(defect.kind, defect.where) for defect in data.defects] == [("missing_image", "val.json: 3.png")]


@pytest.mark.parametrize("count", [0, 1])
def test_val_boxes_never_land_on_trains_pictures(tmp_path, count):
    write_both(tmp_path)
    drawn(tmp_path, "train")
    drawn(tmp_path, "valid", count=count)
    with pytest.raises(UserError, match=r"dataset\.val_images=<folder>"):
        read(tmp_path)


def test_lists_of_one_folder_may_split_it_whatever_it_is_called(tmp_path):
    drawn(tmp_path, "images/train")
    write(tmp_path, "train.json", content(*NAMES[:3]))
    write(tmp_path, "val.json", content(NAMES[3]))
    assert names(read(tmp_path))["val"] == ["images/train/3.png"]


def test_a_named_folder_must_be_one_and_must_have_an_effect(tmp_path):
    write(tmp_path, "train.json", content(*NAMES))
    drawn(tmp_path, "train")
    with pytest.raises(UserError, match=r"dataset\.train_images=gone: .*gone is no folder"):
        read(tmp_path, train_images="gone")
    with pytest.raises(UserError, match=r"dataset\.val_images=train: no json of the data set is read as val"):
        read(tmp_path, val_images="train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"4 of the 4 images of the split train are not there"):
        read(tmp_path, train_images="empty")


@pytest.mark.parametrize(
    "prefix",
    [
        "images\\",
        "set\\images\\",
        "C:\\Users\\me\\set\\images\\",
        "C:\\other\\",
        "/home/me/set/images/",
        "../images/",
        "file:///home/me/images/",
        "https://example.org/images/",
        "http://[no host/images/",
    ],
)
def test_paths_of_other_machines_are_matched_by_their_end(tmp_path, prefix):
    write(tmp_path, "result.json", content(*(prefix + name for name in NAMES)))
    drawn(tmp_path, "images")
    data = read(tmp_path)
    assert all_names(data) == [f"images/{name}" for name in NAMES]
    assert [defect.kind for defect in data.defects] == ["other_path"] * 4
    assert data.defects[0].where == f"result.json: {prefix}0.png is images/0.png"


def test_quoted_names_are_read_where_no_file_is_called_so(tmp_path):
    write(tmp_path, "labels.json", content("a%20b.png", "c%20d.png", "e.png"))
    draw(tmp_path, "a b.png", "c%20d.png", "e.png")
    assert all_names(read(tmp_path)) == ["a b.png", "c%20d.png", "e.png"]


def test_the_end_of_a_path_tells_splits_apart(tmp_path):
    write(tmp_path, "train.json", content(*(f"D:\\set\\train\\{name}" for name in NAMES)))
    write(tmp_path, "val.json", content(*(f"D:\\set\\valid\\{name}" for name in NAMES)))
    drawn(tmp_path, "images/train", "images/valid")
    assert folders(read(tmp_path)) == {"train": {"images/train"}, "val": {"images/valid"}}


def test_an_end_that_two_files_have_is_refused_with_the_backslash(tmp_path):
    write(tmp_path, "labels.json", content(*(f"D:\\set\\{name}" for name in NAMES)))
    with pytest.raises(UserError, match=r"4 of the 4 images .*Its backslashes were read as those of a path of Windows"):
        read(tmp_path)
    drawn(tmp_path, "front", "back")
    with pytest.raises(UserError, match=r"back .* and .*front .*Say which: dataset\.train_images"):
        read(tmp_path)


def test_two_names_are_never_one_file(tmp_path):
    draw(tmp_path, "images/0.png", "images/1.png", "images/2.png")
    write(tmp_path, "labels.json", content("cam1/0.png", "cam2/0.png", "cam1/1.png", "cam1/2.png"))
    data = read(tmp_path)
    assert sum(len(found) for found in names(data).values()) == 2
    assert [defect.kind for defect in data.defects].count("missing_image") == 2


def test_pictures_in_many_folders_are_found_where_each_name_is_one_file(tmp_path):
    draw(tmp_path, "a/0.png", "b/1.png", "c/2.png", "c/d/3.png")
    write(tmp_path, "labels.json", content(*NAMES))
    assert all_names(read(tmp_path)) == ["a/0.png", "b/1.png", "c/2.png", "c/d/3.png"]


def test_one_file_with_other_objects_in_two_splits_is_refused(tmp_path):
    write_both(tmp_path)
    drawn(tmp_path, "images")
    with pytest.raises(UserError, match=r"0\.png: described twice, in train\.json \(train\) and val\.json \(val\)"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("written", "there"),
    [("0.PNG", "0.png"), ("Caf\u00e9.png", "cafe\u0301.png"), ("A/B.png", "a/b.PNG"), ("C:\\x\\B.png", "b.PNG")],
)
def test_a_name_of_another_letter_case_or_form_is_the_one_file_that_fits(tmp_path, written, there):
    write(tmp_path, "train.json", content(written, "1.png"))
    draw(tmp_path, f"images/{there}", "images/1.png")
    data = read(tmp_path)
    assert f"images/{there}" in all_names(data)
    assert [defect.kind for defect in data.defects if defect.kind.startswith("other")] == ["other_case"]


def test_of_two_names_that_differ_in_letter_case_alone_none_is_taken(tmp_path):
    write(tmp_path, "train.json", content("a.png", "1.png", "2.png"))
    draw(tmp_path, "A.png", "a.PNG", "1.png", "2.png")
    data = read(tmp_path)
    assert set(all_names(data)) == {"1.png", "2.png"}
    assert [defect.kind for defect in data.defects if "image" in defect.kind] == ["missing_image"]


def test_names_that_differ_in_letter_case_alone_are_two_pictures(tmp_path):
    write(tmp_path, "train.json", content("a.png", "A.png", "2.png"))
    draw(tmp_path, "a.png", "2.png")
    assert set(all_names(read(tmp_path))) == {"a.png", "2.png"}
    draw(tmp_path, "A.png")
    assert set(all_names(read(tmp_path))) == {"a.png", "A.png", "2.png"}
