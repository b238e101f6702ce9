"""What cannot be read of one picture is refused with all others of its kind, or goes as the setting says."""

import json
import runpy
from pathlib import Path

import PIL.Image
import pytest

from headstart.config.kinds import KINDS
from headstart.config.schema import CocoConfig, VocConfig, YoloConfig
from headstart.data import catalog
from headstart.data.policy import Policy
from headstart.errors import UserError

BOX = "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>25</xmax><ymax>20</ymax></bndbox>"
CAT = f"<object><name>cat</name>{BOX}</object>"
VOC_FAULTS = {
    "broken": ("malformed_file", f"<annotation>\n{CAT}</annotatio>", "line 2, column "),
    "page": ("malformed_file", "<Error/>", "begins with <error>"),
    "encoding": ("malformed_file", '<?xml version="1.0" encoding="klingon"?><annotation/>', "not a readable xml file"),
    "text": ("malformed_object", f"<annotation>{CAT}{CAT.replace('25', 'two')}</annotation>", "object 2: bndbox/xmax"),
    "nameless": (
        "malformed_object",
        f"<annotation>{CAT}{CAT.replace('cat', '')}</annotation>",
        "object 2: has no <name>",
    ),
    "other": ("wrong_filename", f"<annotation><filename>a.png</filename>{CAT}{CAT}</annotation>", "a.png for odd.png"),
    "suffix": ("wrong_suffix", f"<annotation><filename>odd.jpg</filename>{CAT}{CAT}</annotation>", "odd.jpg for odd"),
    "size": (
        "wrong_size",
        f"<annotation><size><width>9</width><height>9</height></size>{CAT}{CAT}</annotation>",
        "9x9 in the annotation, 64x48 in the picture",
    ),
    "zero": (
        "zero_size",
        f"<annotation><size><width>0</width><height>0</height></size>{CAT}{CAT}</annotation>",
        "0x0 in the annotation, 64x48 in the picture",
    ),
}
YOLO_FAULTS = {
    "score": ("malformed_object", "0 .5 .5 .2 .2\n0 .5 .5 .2 .2 .9\n", "odd.txt:2: 6 values"),
    "word": ("malformed_object", "0 .5 .5 .2 .2\ncat .5 .5 .2 .2\n", "odd.txt:2: 'cat .5 .5 .2 .2'"),
    "class": ("unknown_class", "0 .5 .5 .2 .2\n7 .5 .5 .2 .2\n", "odd.txt:2: class 7 does not exist; there are 2"),
    "pixels": ("not_shares", "0 .5 .5 .2 .2\n0 32 24 16 24\n", "odd.txt:2: 32 24 16 24 are no shares"),
    "polygon": ("polygon_line", "0 .5 .5 .2 .2\n1 .25 .5 .5 .25 .5 .75\n", "odd.txt:2: 7 values"),
}


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (64, 48), (sum(path.name.encode()) % 256, len(path.parent.name), 0)).save(path)


def voc_set(root: Path, odd: str) -> VocConfig:
    for place, text in {"train/a": f"<annotation>{CAT}</annotation>", "train/odd": odd, "val/v": None}.items():
        picture(root / f"{place}.png")
        (root / f"{place}.xml").write_text(text or f"<annotation>{CAT}</annotation>")
    return VocConfig(name="mine", root=str(root), val_split="val")


def yolo_set(root: Path, odd: str) -> YoloConfig:
    line = "0 .5 .5 .25 .25\n1 .5 .5 .5 .5\n"
    for place, text in {"train/a": line, "train/odd": odd, "val/v": line}.items():
        picture(root / f"{place}.png")
        (root / f"{place}.txt").write_text(text)
    (root / "data.yaml").write_text("names: [cat, dog]\n")
    return YoloConfig(name="mine", root=str(root), val_split="val")


def coco_set(root: Path, odd: dict) -> CocoConfig:
    for split, names in {"train": ("a", "odd"), "val": ("v",)}.items():
        images = [{"id": i, "file_name": f"{name}.png"} for i, name in enumerate(names)]
        objects = [{"id": i, "image_id": i, "category_id": 1, "bbox": [5, 5, 20, 15]} for i in range(len(names))]
        more = [{"id": 9, "image_id": 1, "category_id": 1, "bbox": [9, 9, 9, 9]} | odd] if split == "train" else []
        content = {"images": images, "annotations": objects + more, "categories": [{"id": 1, "name": "cat"}]}
        for name in names:
            picture(root / split / f"{name}.png")
        (root / f"{split}.json").write_text(json.dumps(content))
    return CocoConfig(name="mine", root=str(root), val_split="val")


COCO_FAULTS = {
    "bbox": ("malformed_object", {"bbox": [1, 2, 3]}, "annotation id 9: bbox is [1, 2, 3]"),
    "category": ("unknown_class", {"category_id": 4}, "annotation id 9: category_id 4 is not among the categories (1)"),
    "stranger": ("unknown_image", {"image_id": 44}, "annotation id 9: image_id 44"),
}
CASES = [
    (make, *fault, action.value)
    for make, faults in ((voc_set, VOC_FAULTS), (yolo_set, YOLO_FAULTS), (coco_set, COCO_FAULTS))
    for fault in faults.values()
    for action in KINDS[fault[0]].actions
]


@pytest.mark.parametrize(("make", "kind", "text", "says", "action"), CASES)
def test_each_action_does_what_it_says(tmp_path: Path, make, kind: str, text, says: str, action: str) -> None:
    config = make(tmp_path, text)
    config.on = {kind: action}
    if action == "error":
        with pytest.raises(UserError) as refused:
            catalog.read(config, 0)
        assert str(refused.value).startswith(f"1 {kind} (")
        assert says in str(refused.value)
        assert f"dataset.on.{kind}=" in str(refused.value)
        return
    data = catalog.read(config, 0)
    (defect,) = [defect for defect in data.defects if defect.kind == kind]
    assert says in defect.where
    boxes = {Path(image.name).stem: len(image.boxes_xyxy) for image in data.splits["train"]}
    expected = {"skip_image": {"a": 1}, "skip_box": {"a": 1, "odd": 1}, "keep": {"a": 1, "odd": 2}}[action]
    if make is yolo_set:
        expected["a"] = 2
    assert boxes == expected


def test_a_polygon_is_its_enclosing_box(tmp_path: Path) -> None:
    config = yolo_set(tmp_path, YOLO_FAULTS["polygon"][1])
    config.on = {"polygon_line": "keep"}
    odd = {Path(image.name).stem: image for image in catalog.read(config, 0).splits["train"]}["odd"]
    assert odd.boxes_xyxy[1].tolist() == [16, 12, 32, 36]


def test_all_broken_files_are_refused_at_once_and_a_policy_that_refuses_nothing_sees_them(tmp_path: Path) -> None:
    config = voc_set(tmp_path, "<annotation>")
    for number in range(4):
        picture(tmp_path / f"train/p{number}.png")
        (tmp_path / f"train/p{number}.xml").write_text("<annotation><object>")
    with pytest.raises(UserError, match=r"^5 malformed_file \(.*odd\.xml: .*p0\.xml: .*p1\.xml: .*; and 2 more\. "):
        catalog.read(config, 0)
    policy = Policy(refuses=False)
    data = catalog.read(config, 0, policy)
    assert [(d.kind, d.action) for d in data.defects] == [("malformed_file", "refused")] * 5
    assert [image.name for image in data.splits["train"]] == ["train/a.png"]


@pytest.mark.parametrize(("other", "kind"), [(CAT, "equal_images"), (CAT * 2, "equal_images_other_boxes")])
def test_equal_pictures_of_one_split_are_told_by_what_they_hold(tmp_path: Path, other: str, kind: str) -> None:
    config = voc_set(tmp_path, f"<annotation>{other}</annotation>")
    (tmp_path / "train/odd.png").write_bytes((tmp_path / "train/a.png").read_bytes())
    found = [(d.kind, d.where, d.image) for d in catalog.read(config, 0).defects if d.kind.startswith("equal")]
    assert found == [(kind, "train/odd.png is the picture train/a.png", "train/odd.png")]
    config.on = {kind: "skip_image"}
    assert [image.name for image in catalog.read(config, 0).splits["train"]] == ["train/a.png"]


def test_odd_classes_are_named(tmp_path: Path) -> None:
    dog, cat = CAT.replace("cat", "background"), CAT.replace("cat", "Cat")
    config = voc_set(tmp_path, f"<annotation>{dog}</annotation>")
    (tmp_path / "val/v.xml").write_text(f"<annotation>{CAT}{cat}</annotation>")
    config.class_names = ["cat", "Cat", "background", "bird"]
    found = {(d.kind, d.where) for d in catalog.read(config, 0).defects}
    assert {
        ("similar_names", "'cat' and 'Cat'"),
        ("background_class", "'background'"),
        ("class_in_one_split", "'Cat': 1 in val"),
        ("class_in_one_split", "'background': 1 in train"),
        ("unused_class", "'bird'"),
    } <= found


def test_gaps_among_ids_are_a_note(tmp_path: Path) -> None:
    config = coco_set(tmp_path, {})
    for split in ("train", "val"):
        path = tmp_path / f"{split}.json"
        path.write_text(
            path.read_text().replace('{"id": 1, "name": "cat"}', '{"id": 1, "name": "cat"}, {"id": 4, "name": "dog"}')
        )
    where = [defect.where for defect in catalog.read(config, 0).defects if defect.kind == "id_gaps"]
    assert where == [f"{split}.json: 2 category ids with 2 missing between them" for split in ("train", "val")]


def test_the_page_of_kinds_is_that_of_the_table() -> None:
    script = Path(__file__).parents[2] / "docs" / "make_defects.py"
    made = runpy.run_path(str(script))
    assert made["PAGE"].read_text() == made["page"](), "run: python docs/make_defects.py"
