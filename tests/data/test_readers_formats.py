"""Every format that describes the same boxes gives the same data set."""

import importlib.util
from collections import Counter
from pathlib import Path

import PIL.Image
import pytest

from headstart.config.schemas import SCHEMAS
from headstart.data import catalog
from headstart.data.types import DetectionData
from headstart.errors import UserError

_spec = importlib.util.spec_from_file_location("written", Path(__file__).with_name("written.py"))
written = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(written)
boxes = written.boxes


def pictures(root: Path, *names: str) -> None:
    for name in names or [f"{stem}.png" for stem in written.BOXES]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", written.SIZE, (sum(name.encode()) % 256, len(name), 9)).save(root / name)


def read(form: str, root: Path, **settings) -> DetectionData:
    return catalog.read(SCHEMAS["dataset"][form](name="mine", root=str(root), **settings), seed=0)


def kinds(data: DetectionData) -> dict[str, int]:
    """But of what is drawn: into which split the few boxes of a class fall."""
    return dict(Counter(defect.kind for defect in data.defects if defect.kind != "class_in_one_split"))


@pytest.mark.parametrize("name", written.FORMATS)
def test_the_same_boxes_in_every_format_are_the_same_data(name, tmp_path):
    writer, form = written.FORMATS[name]
    pictures(tmp_path)
    writer(tmp_path)
    data = read(form, tmp_path)
    expected = {stem: items for stem, items in written.BOXES.items() if items or form != "open_images"}
    assert boxes(data) == expected
    assert data.class_names == ("cat", "dog")
    assert set(kinds(data)) <= {"other_path"}
    assert {split: len(images) for split, images in data.splits.items()} == {"train": len(expected) - 1, "val": 1}


@pytest.mark.parametrize("name", written.FORMATS)
def test_folders_named_after_splits_are_the_splits_in_every_format(name, tmp_path):
    writer, form = written.FORMATS[name]
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        pictures(tmp_path / split)
        writer(tmp_path / split)
        for path in (tmp_path / split).glob("*.png"):
            shade = 50 if split == "train" else 200
            PIL.Image.new("RGB", written.SIZE, (shade, *path.stem.encode(), 0)).save(path)
    data = read(form, tmp_path)
    assert data.splits_from == {"train": "found: train", "val": "found: val"}
    for split, images in data.splits.items():
        assert images
        assert {Path(image.name).parts[0] for image in images} == {split}


@pytest.mark.parametrize("name", written.FORMATS)
def test_boxes_of_one_split_are_not_put_on_the_pictures_of_another(name, tmp_path):
    writer, form = written.FORMATS[name]
    if form in ("labelme", "dota"):
        pytest.skip("labels lie with their pictures")
    pictures(tmp_path / "train")
    (tmp_path / "val").mkdir()
    writer(tmp_path / "val")
    with pytest.raises(UserError, match=r"of the \d images of the split val are not there|none of the splits found"):
        read(form, tmp_path)


@pytest.mark.parametrize("name", written.FORMATS)
def test_a_picture_that_is_not_there_is_said_and_most_of_them_are_refused(name, tmp_path):
    writer, form = written.FORMATS[name]
    pictures(tmp_path)
    writer(tmp_path)
    (tmp_path / "b.png").unlink()
    kind = "label_without_image" if form == "dota" else "missing_image"
    assert kinds(read(form, tmp_path))[kind] == 1
    for stem in "ade":
        (tmp_path / f"{stem}.png").unlink()
    with pytest.raises(UserError, match=r"are not there|no object in any annotation"):
        read(form, tmp_path)


# -------------------------------------------------------------------------------------------------- csv

HEAD = "image,xmin,ymin,xmax,ymax,label"


def sheet(root: Path, *lines: str, name: str = "boxes.csv") -> None:
    pictures(root)
    (root / name).write_text("\n".join(lines))


def test_a_column_says_the_split(tmp_path):
    sheet(
        tmp_path,
        f"{HEAD},split",
        *(f"{n}.png,1,2,30,40,cat,{p}" for n, p in zip("abcd", ("train", "val", "test", "train"), strict=True)),
    )
    data = read("csv", tmp_path)
    assert {split: [image.name for image in images] for split, images in data.splits.items()} == {
        "train": ["a.png", "d.png"],
        "val": ["b.png"],
        "test": ["c.png"],
    }


def test_lists_say_the_split(tmp_path):
    sheet(tmp_path, HEAD, *(f"{n}.png,1,2,30,40,cat" for n in "abcd"))
    (tmp_path / "train.txt").write_text("a\nb\n")
    (tmp_path / "val.txt").write_text("c.png\nzz zz.png\n")
    data = read("csv", tmp_path)
    assert {split: [image.name for image in images] for split, images in data.splits.items()} == {
        "train": ["a.png", "b.png"],
        "val": ["c.png"],
    }
    assert [d.where for d in data.defects if d.kind == "missing_image"] == ["val.txt:2: zz zz.png"]


def test_two_files_of_the_same_pictures_are_asked_about_and_settings_choose(tmp_path):
    sheet(tmp_path, HEAD, "a.png,1,2,30,40,cat", "b.png,1,2,30,40,cat")
    sheet(tmp_path, HEAD, "a.png,1,2,30,41,cat", name="more.csv")
    with pytest.raises(
        UserError, match=r"1 described_twice .*: a\.png in boxes\.csv and more\.csv.*dataset\.train_file"
    ):
        read("csv", tmp_path)
    assert boxes(read("csv", tmp_path, train_file="boxes.csv"))["a"] == [("cat", (1, 2, 30, 40))]


def test_zeros_say_that_there_is_nothing_and_outlines_become_boxes(tmp_path):
    sheet(
        tmp_path,
        "image_path,label,geometry,xmin,ymin,xmax,ymax",
        'a.png,cat,"POLYGON ((3 4, 20 5, 18 30, 3 4))",,,,',
        "b.png,cat,,0,0,0,0",
        "d.png,cat,POINT (3 4),,,,",
        "e.png,cat,,1,2,3,4",
    )
    data = read("csv", tmp_path)
    assert boxes(data) == {"a": [("cat", (3, 4, 20, 30))], "b": [], "d": [], "e": [("cat", (1, 2, 3, 4))]}
    assert kinds(data) == {"enclosing_box": 1, "negative_row": 1, "no_box": 1}
    (image,) = (i for images in data.splits.values() for i in images if i.name == "a.png")
    assert image.area.tolist() == [pytest.approx(abs(3 * 5 - 20 * 4 + 20 * 30 - 18 * 5 + 18 * 4 - 3 * 30) / 2)]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ((HEAD, "a.png,1,2,x,4,cat"), r"boxes\.csv: line 2: xmax is \"x\""),
        ((HEAD, "a.png,1,2,3,4,"), r"line 2: the class is"),
        ((HEAD, ",1,2,3,4,cat"), r"line 2: no picture is named"),
        ((HEAD, "a.png,1,2,3,4,cat,more"), r"line 2: 7 fields, where the header has 6"),
        ((HEAD, 'a.png,1,2,3,4,"cat'), r"line 2: not a readable csv"),
        (("image,xmin,ymin,xmax,ymax", "a.png,1,2,3,4"), r"no column for the class"),
        (("image,xmin,ymin,xmax,ymax,label,label", "a.png,1,2,3,4,x,y"), r"two columns are called 'label'"),
        ((HEAD, *(f"a.png,0.{n},0.1,0.7,0.8,cat" for n in range(1, 7))), "shares of width and height"),
        ((HEAD, *(f"{n}.png,40,30,20,15,cat" for n in "abde")), None),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(lines, says, tmp_path):
    sheet(tmp_path, *lines)
    with pytest.raises(UserError, match=says):
        read("csv", tmp_path)


def test_a_path_out_of_the_root_is_never_opened(tmp_path):
    pictures(tmp_path / "secret")
    sheet(
        tmp_path / "set",
        HEAD,
        "../secret/q.png,1,2,3,4,cat",
        f"{tmp_path}/secret/z.png,1,2,3,4,cat",
        "a.png,1,2,3,4,cat",
        "b.png,1,2,3,4,cat",
    )
    pictures(tmp_path / "secret", "q.png", "z.png")
    data = read("csv", tmp_path / "set")
    assert kinds(data)["missing_image"] == 2
    assert sorted(boxes(data)) == ["a", "b"]
