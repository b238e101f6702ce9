"""A path that data name is opened only inside the data set's folder: each way out carries a real file to find."""

import builtins
import io
import json
import os
import re
from pathlib import Path

import PIL.Image
import pytest

from headstart.config.schema import CocoConfig, FileDatasetConfig, VocConfig, YoloConfig
from headstart.config.schemas import SCHEMAS
from headstart.data import catalog
from headstart.data.readers import coco, voc, yolo
from headstart.errors import UserError

from ..data import written

FORMATS = {**written.FORMATS, **written.OLDER}
KEEP = {"outside_root": "keep"}


def picture(path: Path, colour: tuple[int, int, int] = (9, 9, 9)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (64, 48), colour).save(path)
    return path


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A picture beside the data set's folder, with a label, that nobody gave away."""
    (tmp_path / "private").mkdir()
    (tmp_path / "private/diary.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    return picture(tmp_path / "private/diary.png", (1, 2, 3))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every file that is opened, by Pillow as well."""
    seen: list[str] = []
    real = builtins.open

    def spy(file, *args, **settings):
        seen.append(str(file))
        return real(file, *args, **settings)

    monkeypatch.setattr(builtins, "open", spy)
    monkeypatch.setattr(io, "open", spy)
    return seen


def coco_set(root: Path, file_name: str) -> None:
    for split, name in (("train", file_name), ("val", "b.png")):
        content = {
            "images": [{"id": 1, "file_name": name, "width": 64, "height": 48}, {"id": 2, "file_name": f"{split}.png"}],
            "annotations": [{"id": n, "image_id": n, "category_id": 1, "bbox": [n, 2, 30, 30]} for n in (1, 2)],
            "categories": [{"id": 1, "name": "cat"}],
        }
        picture(root / f"{split}.png", (50, 60, len(split)))
        (root / f"{split}.json").write_text(json.dumps(content))
    picture(root / "b.png", (70, 60, 50))


def names_of(secret: Path, root: Path) -> dict[str, str]:
    (root / "way").symlink_to(secret.parent)
    (root / "link.png").symlink_to(secret)
    return {
        "up": "../private/diary.png",
        "up and down": "x/../../private/diary.png",
        "absolute": str(secret),
        "through a linked folder": "way/diary.png",
        "a link": "link.png",
    }


WAYS = ("up", "up and down", "absolute", "through a linked folder", "a link")


def check_refused(read, secret: Path, opened: list[str]) -> None:
    with pytest.raises(UserError, match="out of the data set's folder") as error:
        read()
    assert "dataset.on.outside_root=keep" in str(error.value)
    assert str(secret.resolve()) in str(error.value)
    assert not [name for name in opened if "diary" in name or "link.png" in name]


@pytest.mark.parametrize("way", WAYS)
def test_coco_file_names_lead_nowhere_outside(tmp_path, secret, opened, way):
    root = tmp_path / "data"
    (root / "x").mkdir(parents=True)
    coco_set(root, names_of(secret, root)[way])
    check_refused(lambda: coco.read(CocoConfig(name="c", root=str(root))), secret, opened)


def test_keep_trusts_them_and_counts_them(tmp_path, secret):
    root = tmp_path / "data"
    coco_set(root, "../private/diary.png")
    data = coco.read(CocoConfig(name="c", root=str(root), on=KEEP))
    assert len(data.splits["train"]) == 2
    assert [defect.kind for defect in data.defects if "diary" in defect.where] == ["outside_root"]


@pytest.mark.parametrize("way", WAYS)
def test_lists_of_yolo_lead_nowhere_outside(tmp_path, secret, opened, way):
    root = tmp_path / "data"
    (root / "x").mkdir(parents=True)
    for split in ("train", "val"):
        picture(root / f"images/{split}.png", (len(split), 5, 5))
        (root / "labels").mkdir(exist_ok=True)
        (root / f"labels/{split}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (root / "data.yaml").write_text("train: train.txt\nval: val.txt\nnames: [cat]\n")
    (root / "train.txt").write_text(f"images/train.png\n{names_of(secret, root)[way]}\n")
    (root / "val.txt").write_text("images/val.png\n")
    check_refused(lambda: yolo.read(YoloConfig(name="y", root=str(root))), secret, opened)


@pytest.mark.parametrize(
    "text", ["train: ../private", "train: {}", "path: ..\ntrain: private", "path: {}/..\ntrain: private"]
)
def test_folders_in_a_data_yaml_lead_nowhere_outside(tmp_path, secret, opened, text):
    root = tmp_path / "data"
    picture(root / "images/val/a.png")
    (root / "data.yaml").write_text(f"{text.format(secret.parent)}\nval: images/val\nnames: [cat]\n")
    with pytest.raises(UserError, match="out of the data set's folder"):
        yolo.read(YoloConfig(name="y", root=str(root)))
    assert not [name for name in opened if "diary" in name]


def test_the_names_of_an_obj_data_are_not_read_from_outside(tmp_path, opened):
    root = tmp_path / "data"
    (tmp_path / "passwords").write_text("hunter2\n")
    for split in ("train", "val"):
        picture(root / f"{split}.png", (len(split), 1, 1))
        (root / f"{split}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (root / "obj.data").write_text("names = ../passwords\n")
    opened.clear()
    with pytest.raises(UserError, match="out of the data set's folder") as error:
        yolo.read(YoloConfig(name="y", root=str(root)))
    assert "hunter2" not in str(error.value)
    assert not [name for name in opened if name.endswith("passwords")]


def test_a_label_file_that_is_a_link_out_is_not_read(tmp_path, opened):
    root = tmp_path / "data"
    (tmp_path / "passwords").write_text("root hunter2 x y z\n")
    for split in ("train", "val"):
        picture(root / f".{split}/images/a.png", (len(split), 1, 1))
        (root / f".{split}/labels").mkdir()
        (root / f".{split}/labels/a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (root / ".train/labels/a.txt").unlink()
    (root / ".train/labels/a.txt").symlink_to(tmp_path / "passwords")
    (root / "data.yaml").write_text("train: t.txt\nval: v.txt\nnames: [cat]\n")
    (root / "t.txt").write_text(".train/images/a.png\n")  # hidden, so in no listing
    (root / "v.txt").write_text(".val/images/a.png\n")
    opened.clear()
    with pytest.raises(UserError, match="out of the data set's folder") as error:
        yolo.read(YoloConfig(name="y", root=str(root)))
    assert "hunter2" not in str(error.value)
    assert not [name for name in opened if name.endswith("passwords")]


def voc_set(root: Path, name: str = "a") -> None:
    picture(root / "JPEGImages/a.png")
    picture(root / "JPEGImages/b.png", (99, 1, 1))
    for stem in ("a", "b"):
        (root / "Annotations").mkdir(exist_ok=True)
        (root / f"Annotations/{stem}.xml").write_text(
            f"<annotation><folder>/etc</folder><filename>{name}</filename><path>{name}</path><object><name>cat</name>"
            "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>"
        )


@pytest.mark.parametrize("way", WAYS)
def test_voc_opens_nothing_that_filename_folder_path_or_a_list_names_outside(tmp_path, secret, opened, way):
    root = tmp_path / "data"
    (root / "x").mkdir(parents=True)
    name = names_of(secret, root)[way]
    voc_set(root, name)
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "ImageSets/Main/train.txt").write_text(f"a\nb\n{name}\n")
    (root / "ImageSets/Main/val.txt").write_text("b\n")
    data = voc.read(VocConfig(name="v", root=str(root)))
    assert {image.name for images in data.splits.values() for image in images} <= {
        "JPEGImages/a.png",
        "JPEGImages/b.png",
    }
    assert not [path for path in opened if "diary" in path or "link.png" in path]


NAME = re.compile(r"/data/upload/1/1a2b3c4d-a\.png|(?<!\w)a\.png")
BACKSLASHES = {"up, as Windows has it": "..\\private\\diary.png", "both": "x/..\\../private\\diary.png"}


def written_set(root: Path, form: str) -> None:
    for shade, stem in enumerate(written.BOXES):
        picture(root / f"{stem}.png", (shade, 0, 0))
    FORMATS[form][0](root)


def read_and_see(root: Path, form: str, seen: list[str], keep: bool) -> str:
    """What was said; AssertionError where a file outside of `root` was opened, or is one of the pictures."""
    on = {"missing_image": "skip_image", "missing_annotation": "skip_image"} if keep else {}
    seen.clear()
    try:
        data = catalog.read(SCHEMAS["dataset"][FORMATS[form][1]](name="m", root=str(root), on=on), seed=0)
        said = str(data.class_names)
        assert all(is_below(root / image.name, root) for images in data.splits.values() for image in images)
    except UserError as error:
        said = str(error)
    assert not [name for name in seen if is_below(name, root.parent) and not is_below(name, root)]
    return said


def is_below(path: str | Path, folder: Path) -> bool:
    return os.path.realpath(path).startswith(f"{os.path.realpath(folder)}{os.sep}")


@pytest.mark.parametrize("way", [*WAYS, *BACKSLASHES])
@pytest.mark.parametrize("form", [name for name in FORMATS if name not in ("dota", "open images")])
def test_names_of_pictures_lead_nowhere_outside_in_any_format(tmp_path, secret, opened, form, way):
    root = tmp_path / "data"
    (root / "x").mkdir(parents=True)
    evil = (names_of(secret, root) | BACKSLASHES)[way]
    written_set(root, form)
    if form == "labelme":
        (root / "a.json").rename(root / "z.json")
    changed = 0
    for path in (path for path in root.rglob("*") if path.is_file() and path.suffix != ".png"):
        name = json.dumps(evil)[1:-1] if path.suffix.startswith(".json") else evil
        text, count = NAME.subn(lambda _, name=name: name, path.read_text())
        path.write_text(text)
        changed += count
    assert changed
    for keep in (False, True):
        read_and_see(root, form, opened, keep)


@pytest.mark.parametrize("form", FORMATS)
def test_files_of_labels_that_are_links_out_are_not_opened(tmp_path, opened, form):
    root = tmp_path / "data"
    written_set(root, form)
    paths = sorted(path for path in root.rglob("*") if path.is_file() and path.suffix != ".png")
    for number, path in enumerate(paths):
        out = tmp_path / f"private{number}"
        out.write_text(path.read_text().replace("cat", "hunter2"))
        inside = path.read_bytes()
        path.unlink()
        path.symlink_to(out)
        for keep in (False, True):
            assert "hunter2" not in read_and_see(root, form, opened, keep)
        path.unlink()
        path.write_bytes(inside)


def test_links_inside_and_a_linked_root_are_fine_and_links_out_say_the_remedy(tmp_path):
    voc_set(tmp_path / "real")
    (tmp_path / "root").symlink_to("real")
    assert len(voc.read(VocConfig(name="v", root=str(tmp_path / "root"))).splits["train"]) >= 1
    (tmp_path / "real/JPEGImages").rename(tmp_path / "disk")
    (tmp_path / "real/JPEGImages").symlink_to(tmp_path / "disk")
    with pytest.raises(UserError, match="outside_root=keep"):
        voc.read(VocConfig(name="v", root=str(tmp_path / "root")))
    found = voc.read(VocConfig(name="v", root=str(tmp_path / "root"), on=KEEP))
    assert sum(map(len, found.splits.values())) == 2


def test_what_is_not_used_is_not_looked_for_outside(tmp_path):
    voc_set(tmp_path / "data")
    picture(tmp_path / "private/love letter.png")
    (tmp_path / "data/more").symlink_to(tmp_path / "private")
    data = voc.read(VocConfig(name="v", root=str(tmp_path / "data")))
    assert "love" not in str(data.unused)


def test_the_default_is_to_refuse():
    assert FileDatasetConfig(name="x", root="x").on == {}
