"""Which files below a data set's folder are not used, and why."""

import json
from pathlib import Path

import PIL.Image
import pytest

from headstart.config import schema as s
from headstart.data import catalog
from headstart.data.readers import unused
from headstart.data.readers.inside import Fence
from headstart.data.types import Unused

XML = (
    "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    "</object></annotation>"
)
LINE = "0 0.5 0.5 0.25 0.5\n"


def picture(path: Path) -> None:
    """Another one for each name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (20, 20), (sum(path.name.encode()) % 256, len(path.name), 0)).save(path, format="png")


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.fixture
def yolo(tmp_path) -> Path:
    for split in ("train", "val"):
        picture(tmp_path / f"images/{split}/{split}.png")
        text(tmp_path / f"labels/{split}/{split}.txt", LINE)
    text(tmp_path / "data.yaml", "names: [cat]")
    return tmp_path


@pytest.fixture
def voc(tmp_path) -> Path:
    for split in ("train", "val"):
        picture(tmp_path / split / f"{split}.png")
        text(tmp_path / split / f"{split}.xml", XML)
    return tmp_path


@pytest.fixture
def coco(tmp_path) -> Path:
    for split in ("train", "val"):
        picture(tmp_path / "images" / f"{split}.png")
        content = {
            "images": [{"id": 1, "file_name": f"{split}.png"}],
            "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 8, 7]}],
            "categories": [{"id": 1, "name": "cat"}],
        }
        text(tmp_path / "annotations" / f"instances_{split}.json", json.dumps(content))
    return tmp_path


CONFIGS = {"yolo": s.YoloConfig, "voc": s.VocConfig, "coco": s.CocoConfig}


def found(kind: str, root: Path) -> dict[str, Unused]:
    return catalog.read(CONFIGS[kind](name="mine", root=str(root)), seed=0).unused


@pytest.fixture(params=CONFIGS)
def each(request) -> tuple[str, Path]:
    """A sound data set of each format."""
    return request.param, request.getfixturevalue(request.param)


def test_of_a_sound_data_set_every_file_is_used(each):
    assert found(*each) == {}


def test_pictures_in_another_folder_are_not_used(each):
    kind, root = each
    picture(root / "more/x.png")
    if kind != "coco":
        text(root / f"more/x.{'xml' if kind == 'voc' else 'txt'}", XML if kind == "voc" else LINE)
    assert found(kind, root) == {"other_folder": Unused(1, ("more/x.png",))}


def test_pictures_without_a_label_are_not_used(voc):
    picture(voc / "train/y.png")
    picture(voc / "elsewhere/y.png")
    assert found("voc", voc) == {"no_label": Unused(2, ("elsewhere/y.png", "train/y.png"))}


def test_pictures_that_a_json_does_not_name_are_not_used(coco):
    for number in range(5):
        picture(coco / f"images/more{number}.png")
    assert found("coco", coco) == {"not_listed": Unused(5, tuple(f"images/more{i}.png" for i in range(5)))}


def test_pictures_that_no_list_names_are_not_used(tmp_path):
    for name in "abc":
        picture(tmp_path / f"JPEGImages/{name}.png")
        text(tmp_path / f"Annotations/{name}.xml", XML)
    text(tmp_path / "ImageSets/Main/train.txt", "a")
    text(tmp_path / "ImageSets/Main/val.txt", "b")
    assert found("voc", tmp_path) == {"not_listed": Unused(1, ("JPEGImages/c.png",))}


def test_labels_without_a_picture_are_not_used_and_other_texts_are_no_labels(yolo):
    text(yolo / "labels/train/gone.txt", LINE)
    text(yolo / "labels/train/classes.txt", "cat\n")
    text(yolo / "README.roboflow.txt", "5 pictures are in here of 7")
    text(yolo / "train.txt", "images/train/train.png\n")
    assert found("yolo", yolo) == {"no_picture": Unused(1, ("labels/train/gone.txt",))}


def test_an_xml_without_a_picture_is_not_used(voc):
    text(voc / "val/gone.xml", XML)
    assert found("voc", voc) == {"no_picture": Unused(1, ("val/gone.xml",))}


def test_further_annotations_of_the_same_pictures_are_not_used(each):
    kind, root = each
    others = {"coco": "annotations/captions_train.json", "yolo": "labels/train/train.xml", "voc": "train/train.txt"}
    text(root / others[kind], "{}")
    assert found(kind, root) == {"other_annotations": Unused(1, (others[kind],))}


@pytest.mark.parametrize("suffix", [".heic", ".csv", ".zip", ""])
def test_files_with_a_suffix_that_is_not_read_are_named(each, suffix):
    kind, root = each
    text(root / f"somewhere/file{suffix}", "")
    assert found(kind, root) == {"unknown_suffix": Unused(1, (f"somewhere/file{suffix}",))}


def test_a_picture_that_was_left_out_with_a_word_is_not_unused(voc):
    """Those that cannot be read and those that stand in two splits are counted as that."""
    text(voc / "train/broken.png", "no picture")
    text(voc / "train/broken.xml", XML)
    (voc / "train/again.png").write_bytes((voc / "val/val.png").read_bytes())
    text(voc / "train/again.xml", XML)
    data = catalog.read(s.VocConfig(name="mine", root=str(voc)), seed=0)
    assert {defect.kind for defect in data.defects} == {"unreadable_image", "split_overlap"}
    assert data.unused == {}


def test_images_that_a_fraction_leaves_out_are_not_unused(voc):
    for number in range(9):
        picture(voc / f"train/{number}.png")
        text(voc / f"train/{number}.xml", XML)
    config = s.VocConfig(name="mine", root=str(voc), fraction=0.3)
    assert catalog.read(config, seed=0).unused == {}


def test_a_link_to_what_is_used_is_no_other_file_and_a_circle_of_links_ends(each):
    _, root = each
    picture(root / "more/unused.png")
    files = [path for path in root.rglob("*") if path.is_file() and "more" not in path.parts]
    before = unused.find(
        Fence(root), [path for path in files if path.suffix == ".png"], [str(p.relative_to(root)) for p in files]
    )
    assert sum(of_reason.count for of_reason in before.values()) == 1
    (root / "up").symlink_to(root, target_is_directory=True)
    (root / "again").symlink_to(files[0].parent, target_is_directory=True)
    (root / "more/back").symlink_to("..", target_is_directory=True)
    pictures = [path for path in files if path.suffix == ".png"]
    assert unused.find(Fence(root), pictures, [str(path.relative_to(root)) for path in files]) == before


def test_a_link_to_nothing_is_a_file_that_is_not_used(voc):
    (voc / "train/nowhere.png").symlink_to(voc / "gone.png")
    assert found("voc", voc) == {"no_label": Unused(1, ("train/nowhere.png",))}


def test_hidden_files_are_not_looked_at(each):
    kind, root = each
    picture(root / ".cache/x.png")
    picture(root / "._train.png")
    assert found(kind, root) == {}


def test_a_folder_of_a_whole_disk_is_not_looked_through(voc, monkeypatch):
    monkeypatch.setattr(unused, "MOST_FILES", 3)
    assert found("voc", voc) == {"too_many_files": Unused(4, ())}
