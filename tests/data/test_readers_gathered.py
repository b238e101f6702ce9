"""What cannot be read is gathered in every format: one refusal that counts it, and settings to go on without it."""

import importlib.util
import json
from collections import Counter
from pathlib import Path

import PIL.Image
import pytest

from headstart import limits
from headstart.config.schemas import SCHEMAS
from headstart.data import catalog
from headstart.data.types import DetectionData
from headstart.errors import UserError

_spec = importlib.util.spec_from_file_location("written", Path(__file__).with_name("written.py"))
written = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(written)
boxes = written.boxes

BROKEN = {
    "csv": ("boxes.csv", {"b.png,42,": "b.png,x,", "d.png,48,": "d.png,x,"}),
    "plain csv": ("boxes.csv", {"b.png,16,": "b.png,x,", "d.png,32,": "d.png,x,"}),
    "labelme": ("*.json", {"[48, 6]": '["x", 6]', "[64, 12]": '["x", 12]'}),
    "dota": ("labelTxt/*.txt", {"16 6 48 6": "x 6 48 6", "32 12 64 12": "x 12 64 12"}),
    "via project": ("via.json", {'"x": 16, "y": 6': '"x": "x", "y": 6', '"x": 32, "y": 12': '"x": "x", "y": 12'}),
    "via csv": ("via.csv", {'""x"": 16, ""y"": 6': '""x"": null, ""y"": 6', '""x"": 32, ""y"": 12': '""y"": 12'}),
    "cvat": ("annotations.xml", {'xtl="16" ytl="6"': 'xtl="x" ytl="6"', 'xtl="32" ytl="12"': 'ytl="12"'}),
    "label studio": ("tasks.json", {'"x": 25.0, "y": 12.5': '"x": "x"', '"x": 50.0, "y": 25.0': '"y": 25.0'}),
    "open images": ("annotations-bbox.csv", {"1,0.25,0.75,0.125": "1,x,0.75,0.125", "1,0.5,1.0,0.25": "1,x,1.0,0.25"}),
}
"""Name of a format -> its files, and what stands in place of a corner of b and d, which have one box each."""


def pictures(root: Path, *names: str) -> None:
    for name in names or [f"images/{stem}.png" for stem in written.BOXES]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", written.SIZE, (sum(name.encode()) % 256, len(name), 9)).save(root / name)


def write(root: Path, name: str) -> str:
    """The form of the format, which is drawn with its pictures."""
    writer, form = written.FORMATS[name]
    pictures(root)
    writer(root)
    return form


def change(root: Path, pattern: str, changes: dict[str, str]) -> None:
    for old, new in changes.items():
        changed = [path for path in root.glob(pattern) if old in path.read_text()]
        assert changed, old
        for path in changed:
            path.write_text(path.read_text().replace(old, new))


def read(form: str, root: Path, **on: str) -> DetectionData:
    return catalog.read(SCHEMAS["dataset"][form](name="mine", root=str(root), on=on), seed=0)


def kinds(data: DetectionData) -> dict[str, int]:
    drawn = ("class_in_one_split", "unused_class")
    return dict(Counter(defect.kind for defect in data.defects if defect.kind not in drawn))


def expected(form: str) -> dict[str, list]:
    return {stem: items for stem, items in written.BOXES.items() if items or form != "open_images"}


# ------------------------------------------------------------------------------------------------ objects


@pytest.mark.parametrize("name", BROKEN)
def test_objects_that_cannot_be_read_are_refused_together_or_left_out(name, tmp_path):
    form = write(tmp_path, name)
    change(tmp_path, *BROKEN[name])
    with pytest.raises(UserError, match=r"^2 malformed_object .*skip_box or skip_image") as refused:
        read(form, tmp_path)
    assert "\n" not in str(refused.value)
    assert str(tmp_path) not in str(refused.value)
    data = read(form, tmp_path, malformed_object="skip_box")
    assert boxes(data) == expected(form) | {"b": [], "d": []}
    found = [defect for defect in data.defects if defect.kind == "malformed_object"]
    assert {defect.image for defect in found} == {"images/b.png", "images/d.png"}
    assert {defect.action for defect in found} == {"dropped box"}
    data = read(form, tmp_path, malformed_object="skip_image")
    assert boxes(data) == {stem: items for stem, items in expected(form).items() if stem not in "bd"}


def test_three_hundred_rows_are_one_refusal_that_counts_them_and_shows_the_first(tmp_path):
    pictures(tmp_path)
    rows = [f"b.png,{n},2,x,20,cat" for n in range(300)]
    (tmp_path / "boxes.csv").write_text("\n".join(["image,xmin,ymin,xmax,ymax,label", *rows, "a.png,1,2,30,40,cat"]))
    with pytest.raises(UserError) as refused:
        read("csv", tmp_path)
    assert str(refused.value) == (
        "300 malformed_object (an object, or a line, that cannot be read): "
        'boxes.csv: line 2: xmax is "x"; it must be a number; boxes.csv: line 3: xmax is "x"; it must be a number; '
        'boxes.csv: line 4: xmax is "x"; it must be a number; and 297 more. Correct the data, or go on with '
        "dataset.on.malformed_object=skip_box or skip_image."
    )


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("csv", {"b.png,42": ",42", "d.png,": "too,many,d.png,"}),
        ("via csv", {"b.png,": ",", "d.png,1": "d.png,1,2"}),
        ("open images", {"b,xclick": ",xclick", "d,xclick": ",xclick"}),
    ],
)
def test_rows_that_name_no_picture_are_refused_together_or_dropped(name, changes, tmp_path):
    form = write(tmp_path, name)
    change(tmp_path, BROKEN[name][0], changes)
    with pytest.raises(UserError, match=r"^2 unnamed_image .*line \d.*line \d"):
        read(form, tmp_path)
    assert boxes(read(form, tmp_path, unnamed_image="skip_box")) == {
        stem: items for stem, items in expected(form).items() if stem not in "bd"
    }


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        (
            "via project",
            {'"filename": "b.png"': '"filename": 7', '"d.png123": {': '"d.png123": {"regions": 1, "x": {}},"y":{'},
        ),
        ("label studio", {"1a2b3c4d-b.png": "b", '"id": 3, "data"': '"id": 3, "date"'}),
        ("cvat", {'name="b.png"': 'name=""', 'name="d.png"': ""}),
    ],
)
def test_what_is_said_of_one_picture_and_cannot_be_read_is_refused_or_leaves_it_out(name, changes, tmp_path):
    form = write(tmp_path, name)
    (tmp_path / BROKEN[name][0]).write_text((tmp_path / BROKEN[name][0]).read_text().replace("\r\n", "\n"))
    change(tmp_path, BROKEN[name][0], changes)
    with pytest.raises(UserError, match=r"^\d malformed_entry "):
        read(form, tmp_path)
    left = boxes(read(form, tmp_path, malformed_entry="skip_image"))
    assert "b" not in left
    assert left["a"] == written.BOXES["a"]


def test_a_picture_in_two_splits_of_one_csv_is_refused_or_left_out(tmp_path):
    pictures(tmp_path)
    rows = [f"{stem}.png,1,2,30,40,cat,{split}" for stem, split in zip("abbcdde", "tvttvtv", strict=True)]
    text = "\n".join(["image,xmin,ymin,xmax,ymax,label,split", *rows])
    (tmp_path / "boxes.csv").write_text(text.replace(",t\n", ",train\n").replace(",v", ",val"))
    with pytest.raises(UserError, match=r"^2 malformed_entry .*line 4: b\.png is in the split train, and above in val"):
        read("csv", tmp_path)
    data = read("csv", tmp_path, malformed_entry="skip_image")
    assert {split: [image.name for image in images] for split, images in data.splits.items()} == {
        "train": ["images/a.png", "images/c.png"],
        "val": ["images/e.png"],
    }


def test_label_studio_tasks_that_differ_are_counted_and_their_pictures_left_out(tmp_path):
    write(tmp_path, "label studio")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    for task in tasks[:2]:
        task["annotations"].append({"result": []})
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    with pytest.raises(UserError, match=r"^2 malformed_entry .*task 0: has 2 annotations.*task 1: has 2"):
        read("label_studio", tmp_path)
    data = read("label_studio", tmp_path, malformed_entry="skip_image")
    assert sorted(boxes(data)) == [*"cde"]
    assert {defect.image for defect in data.defects if defect.kind == "malformed_entry"} == {
        "images/a.png",
        "images/b.png",
    }


def test_shares_beyond_the_picture_are_counted_in_open_images(tmp_path):
    write(tmp_path, "open images")
    change(tmp_path, "annotations-bbox.csv", {"0.25,0.75,0.125": "16,48,6", "1,0.5,1.0": "1,32,64"})
    with pytest.raises(UserError, match=r"^2 not_shares .*line \d: \(16, 6, 48, 0\.875\)"):
        read("open_images", tmp_path)
    assert boxes(read("open_images", tmp_path, not_shares="skip_box"))["b"] == []


def test_all_wrong_lines_of_the_names_of_open_images_are_shown(tmp_path):
    write(tmp_path, "open images")
    (tmp_path / "class-descriptions-2.csv").write_text("/m/01yrx,dog\n/m/0bt9lr\n/m/0bt9lr,fox\n/m/2,x,y\n")
    with pytest.raises(
        UserError, match=r"line 2: a line has.*line 4: a.*line 1: /m/01yrx is cat here and dog.*and 1 more"
    ):
        read("open_images", tmp_path)


# -------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("form", "name", "sound", "broken"),
    [
        ("csv", "{}.csv", "image,x1,y1,x2,y2,label\n{}.png,1,2,30,40,cat", 'image,x1,y1,x2,y2,label\n{}.png,1,2,"'),
        ("csv", "{}.csv", "image,x1,y1,x2,y2,label\n{}.png,1,2,30,40,cat", "image,x1,y1,x2,y2\n{}.png,1,2,30,40"),
        ("cvat", "{}.xml", '<annotations><image name="{}.png"/></annotations>', "<annotations>"),
        ("via", "{}.json", '{{"p": {{"filename": "{}.png", "regions": []}}}}', "{{"),
        ("labelme", "images/{}.json", '{{"shapes": [], "imagePath": "{}.png"}}', '{{"shapes": 3, "imagePath": "{}"}}'),
        ("labelme", "images/{}.json", '{{"shapes": [], "imagePath": "{}.png"}}', '{{"shapes": ["{}'),
    ],
)
def test_files_that_cannot_be_read_are_refused_together_or_left_out(form, name, sound, broken, tmp_path):
    pictures(tmp_path)
    for stem in "abcde":
        text = (broken if stem in "bd" else sound).format(stem)
        (tmp_path / name.format(stem)).write_text(text)
    with pytest.raises(UserError, match=r"^2 malformed_file .*b\.(csv|xml|json): .*d\.(csv|xml|json): "):
        read(form, tmp_path)
    if form == "csv":
        assert sorted(boxes(read(form, tmp_path, malformed_file="skip_image"))) == [*"ace"]
    else:
        with pytest.raises(UserError, match="no object in any annotation"):
            read(form, tmp_path, malformed_file="skip_image")


@pytest.mark.parametrize("name", [name for name in BROKEN if name not in ("dota", "labelme")])
def test_each_file_is_read_once(name, tmp_path, monkeypatch):
    form = write(tmp_path, name)
    reads: Counter[str] = Counter()
    read_bytes = limits.read_bytes
    monkeypatch.setattr(
        limits, "read_bytes", lambda path, *rest: (reads.update([path.name]), read_bytes(path, *rest))[1]
    )
    read(form, tmp_path)
    assert reads[BROKEN[name][0]] == 1
    assert set(reads.values()) == {1}


# ----------------------------------------------------------------------------------------------- pictures


def test_of_two_pictures_of_one_name_labels_are_of_the_one_they_name(tmp_path):
    write(tmp_path, "labelme")
    pictures(tmp_path, "images/b.jpg")
    data = read("labelme", tmp_path)
    assert boxes(data) == written.BOXES
    assert [(d.kind, d.image, d.where) for d in data.defects if d.kind == "same_name"] == [
        ("same_name", "images/b.jpg", "images/b.jpg beside images/b.png, which b.json names")
    ]


@pytest.mark.parametrize("name", ["labelme", "dota", "open images"])
def test_labels_that_fit_two_pictures_and_name_neither_are_refused_together_or_leave_out_both(name, tmp_path):
    form = write(tmp_path, name)
    pictures(tmp_path, "images/b.jpg", "images/d.jpg")
    if name == "labelme":
        change(tmp_path, "*.json", {"b.png": "old.png", "d.png": "old.png"})
    with pytest.raises(
        UserError, match=r"^2 ambiguous_image .*b\.jpg and .*b\.png|^2 ambiguous_image .*b\.jpg, b\.png"
    ):
        read(form, tmp_path)
    data = read(form, tmp_path, ambiguous_image="skip_image")
    assert boxes(data) == {stem: items for stem, items in expected(form).items() if stem not in "bd"}


def test_names_that_fit_two_pictures_are_refused_together_or_left_out(tmp_path):
    write(tmp_path, "csv")
    pictures(tmp_path, "more/b.png", "more/d.png")
    with pytest.raises(UserError, match=r"^2 ambiguous_image .*'b\.png' fits 2 pictures, such as .*images/b\.png"):
        read("csv", tmp_path)
    assert sorted(boxes(read("csv", tmp_path, ambiguous_image="skip_image"))) == [*"ace"]


def test_pictures_that_two_files_describe_are_refused_together_or_left_out(tmp_path):
    write(tmp_path, "csv")
    head = "image,xmin,ymin,xmax,ymax,label"
    (tmp_path / "more.csv").write_text(f"{head}\nb.png,1,2,30,40,cat\nd.png,1,2,30,40,dog\ne.png,1,2,20,30,cat")
    with pytest.raises(UserError, match=r"^3 described_twice .*images/b\.png in boxes\.csv and more\.csv.*train_file"):
        read("csv", tmp_path)
    assert sorted(boxes(read("csv", tmp_path, described_twice="skip_image"))) == [*"ac"]


def test_a_picture_that_only_a_list_names_is_no_stranger(tmp_path):
    """It has no annotation: left out, or a negative; one that is not there is missing."""
    write(tmp_path, "csv")
    pictures(tmp_path, "images/x.png")
    (tmp_path / "train.txt").write_text("a\nb\nc\nd\nx\ngone\n")
    (tmp_path / "val.txt").write_text("e\n")
    data = read("csv", tmp_path)
    assert kinds(data) == {"missing_annotation": 1, "missing_image": 1}
    assert boxes(data) == written.BOXES
    assert boxes(read("csv", tmp_path, missing_annotation="keep")) == {**written.BOXES, "x": []}


@pytest.mark.parametrize("name", ["labelme", "voc"])
def test_a_picture_without_annotations_may_be_kept_as_a_negative(name, tmp_path):
    (written.FORMATS | written.OLDER)[name][0](tmp_path)
    pictures(tmp_path, *(f"{stem}.png" for stem in [*written.BOXES, "x"]))
    if name == "voc":
        (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("a\nb\nc\nx\n")
    assert "x" not in boxes(read(name, tmp_path))
    data = read(name, tmp_path, missing_annotation="keep")
    assert boxes(data) == {**written.BOXES, "x": []}
    assert [defect.action for defect in data.defects if defect.image == "x.png"] == ["used as a negative"]


def test_pictures_with_what_is_no_box_may_be_left_out(tmp_path):
    pictures(tmp_path)
    lines = ['a.png,cat,"POLYGON ((3 4, 20 5, 18 30, 3 4))",,,,', "b.png,cat,POINT (3 4),,,,"]
    lines += [f"{stem}.png,cat,,1,2,3,4" for stem in "cde"]
    (tmp_path / "b.csv").write_text("\n".join(["image_path,label,geometry,xmin,ymin,xmax,ymax", *lines]))
    assert sorted(boxes(read("csv", tmp_path, no_box="skip_image"))) == [*"acde"]
    assert sorted(boxes(read("csv", tmp_path, enclosing_box="skip_image"))) == [*"bcde"]


def test_of_two_pictures_of_one_xml_the_one_that_it_names_is_used(tmp_path):
    written.voc(tmp_path)
    pictures(tmp_path, *(f"{stem}.png" for stem in written.BOXES), "b.jpg", "d.jpg")
    data = read("voc", tmp_path)
    assert boxes(data) == written.BOXES
    assert {(d.image, d.where) for d in data.defects if d.kind == "same_name"} == {
        (f"{stem}.jpg", f"{stem}.jpg beside {stem}.png, which {stem}.xml names") for stem in "bd"
    }
    change(tmp_path, "*.xml", {"<filename>b.png": "<filename>", "<filename>d.png": "<filename>"})
    with pytest.raises(UserError, match=r"^2 ambiguous_image .*b\.xml fits b\.jpg and b\.png, and names neither"):
        read("voc", tmp_path)
    assert sorted(boxes(read("voc", tmp_path, ambiguous_image="skip_image"))) == [*"ace"]


def test_another_number_of_channels_than_the_picture_has_is_said(tmp_path):
    written.voc(tmp_path)
    pictures(tmp_path, *(f"{stem}.png" for stem in written.BOXES))
    PIL.Image.new("L", written.SIZE, 7).save(tmp_path / "b.png")
    data = read("voc", tmp_path)
    assert {defect.kind: defect.where for defect in data.defects if defect.image == "b.png"} == {
        "wrong_depth": "b.png: 3 in the annotation, 1 in the picture (mode L)",
        "greyscale": "b.png: mode L",
    }


def test_an_xml_without_a_picture_is_said_and_not_used(tmp_path):
    written.voc(tmp_path)
    pictures(tmp_path, *(f"{stem}.png" for stem in "acde"))
    data = read("voc", tmp_path)
    assert sorted(boxes(data)) == [*"acde"]
    assert [(d.kind, d.where, d.action) for d in data.defects if "image" in d.kind] == [
        ("label_without_image", "b.xml", "not used")
    ]
    with pytest.raises(UserError, match=r"^1 label_without_image .*b\.xml"):
        read("voc", tmp_path, label_without_image="error")


@pytest.mark.parametrize("name", ["voc", "coco", "yolo"])
def test_a_split_that_settings_emptied_says_which(name, tmp_path):
    written.OLDER[name][0](tmp_path)
    pictures(tmp_path, *(f"{stem}.png" for stem in written.BOXES))
    for stem in "de":
        PIL.Image.new("RGB", (900, 48), (1, 2, ord(stem))).save(tmp_path / f"{stem}.png")
    with pytest.raises(
        UserError, match=r"the split val holds no image: left out are 2 by dataset\.on\.extreme_aspect=sk"
    ):
        read(name, tmp_path, extreme_aspect="skip_image")
