from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from headstart.config.schema import FileDatasetConfig, Resize, VocConfig
from headstart.data import catalog, info
from headstart.data.types import AnnotatedImage, Defect, DetectionData, Size

CONFIG = FileDatasetConfig(name="mine", min_size=100, max_size=200)


def image(name: str) -> AnnotatedImage:
    return AnnotatedImage(
        name=name,
        read=lambda: PIL.Image.new("RGB", (9, 9)),
        size_wh=(9, 9),
        boxes_xyxy=np.array([[0.0, 1.0, 4.0, 5.0], [2.0, 2.0, 3.0, 3.5], [5.0, 5.0, 6.0, 6.0]]),
        labels=np.array([0, 1, 0]),
        crowd=np.array([False, True, False]),
        difficult=np.array([False, False, True]),
        area=np.array([16.0, 1.5, 1.0]),
        digest=f"digest of {name}",
    )


DATA = DetectionData(
    "mine",
    ("cat", "dog"),
    {"train": [image("a"), image("b")], "val": [image("c")]},
    (Defect("empty_box", "x", "dropped box"), Defect("empty_box", "y", "dropped box")),
    {"train": "found: train", "val": "found: val"},
)


def with_image(split: str, **changes) -> DetectionData:
    images = [replace(DATA.splits[split][0], **changes), *DATA.splits[split][1:]]
    return replace(DATA, splits={**DATA.splits, split: images})


def fingerprints(data: DetectionData) -> tuple[str, str]:
    described = info.describe(data, CONFIG)
    return described.fingerprint, described.evaluation_fingerprint


def test_counts_tell_ignored_boxes_apart():
    described = info.describe(DATA, CONFIG)
    assert described.num_images == {"train": 2, "val": 1}
    assert described.num_boxes == {"train": {"cat": 2, "dog": 0}, "val": {"cat": 1, "dog": 0}}
    assert described.num_ignored == {"train": {"crowd": 2, "difficult": 2}, "val": {"crowd": 1, "difficult": 1}}
    assert described.defects == {"empty_box": 2}
    assert described.defect_actions == {"empty_box": {"dropped box": 2}}
    assert described.splits_from == {"train": "found: train", "val": "found: val"}
    assert described.size == Size(100, 200)
    stretched = info.describe(DATA, replace(CONFIG, resize=Resize.stretch))
    assert stretched.size == Size(100, 200, Resize.stretch)
    assert stretched.fingerprints == described.fingerprints, "the pictures are the same"


CHANGES = [
    {"digest": "another"},
    {"boxes_xyxy": np.array([[0.0, 1.0, 4.0, 5.01], [2.0, 2.0, 3.0, 3.5], [5.0, 5.0, 6.0, 6.0]])},
    {"labels": np.array([1, 1, 0])},
    {"crowd": np.array([False, False, False])},
    {"difficult": np.array([False, False, False])},
    {"crowd": np.array([False, False, True]), "difficult": np.array([False, True, False])},
    {"area": np.array([12.3, 1.5, 1.0])},
    {"size_wh": (9, 10)},
]


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_an_image_changes_the_fingerprint(change):
    whole, evaluation = fingerprints(DATA)
    in_train, in_val = fingerprints(with_image("train", **change)), fingerprints(with_image("val", **change))
    assert len({whole, in_train[0], in_val[0]}) == 3
    assert in_train[1] == evaluation != in_val[1]


def test_renamed_classes_and_moved_images_change_the_fingerprint():
    train, val = DATA.splits["train"], DATA.splits["val"]
    assert fingerprints(replace(DATA, class_names=("cat", "wolf")))[0] != fingerprints(DATA)[0]
    swapped = replace(DATA, splits={"train": [train[0], val[0]], "val": [train[1]]})
    assert fingerprints(swapped)[0] != fingerprints(DATA)[0]


def test_the_order_of_images_and_boxes_and_the_files_names_do_not_matter():
    item = DATA.splits["train"][0]
    per_object = {name: getattr(item, name)[::-1] for name in ("boxes_xyxy", "labels", "crowd", "difficult", "area")}
    turned = with_image("train", name="renamed", **per_object)
    turned = replace(turned, splits={**turned.splits, "train": turned.splits["train"][::-1]})
    assert fingerprints(turned) == fingerprints(DATA)


def test_numbering_the_classes_differently_does_not_matter():
    splits = {name: [replace(item, labels=1 - item.labels) for item in images] for name, images in DATA.splits.items()}
    assert fingerprints(replace(DATA, class_names=("dog", "cat"), splits=splits)) == fingerprints(DATA)


def test_a_moved_folder_keeps_its_fingerprint_and_fewer_labels_the_evaluation_fingerprint(tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    for number in range(10):
        PIL.Image.new("RGB", (20, 20), (number, 0, 0)).save(here / f"{number}.png")
        box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
        (here / f"{number}.xml").write_text(f"<annotation><object><name>cat</name>{box}</object></annotation>")

    def described(root: Path, fraction: float = 1.0):
        config = VocConfig(name="x", root=str(root), fraction=fraction)
        return info.describe(catalog.read(config, seed=0), config)

    whole, half = described(here), described(here, 0.5)
    assert whole.fingerprint != half.fingerprint
    assert whole.evaluation_fingerprint == half.evaluation_fingerprint
    here.rename(tmp_path / "there")
    assert described(tmp_path / "there") == whole


BMP = bytes.fromhex(
    "424d3a0000000000000036000000280000000100000001000000010018000000000004000000c40e0000c40e0000000000000000000000000000"
)
"""A picture of one pixel."""
VERSION_1 = ("ef29c39d3320ba8d7ae9a89ff357f87f", "5ddffffed147c47b003afd2485547eb4")


def test_plain_data_has_the_fingerprint_that_version_1_gave_it(tmp_path):
    """Computed with the code of version 1 (schema_version 1 of the record) on these very bytes."""
    for split, colour in (("train", 1), ("val", 2)):
        folder = tmp_path / split
        folder.mkdir()
        (folder / "a.bmp").write_bytes(BMP[:-1] + bytes([colour]))
        box = "<bndbox><xmin>0</xmin><ymin>0</ymin><xmax>1</xmax><ymax>1</ymax></bndbox>"
        (folder / "a.xml").write_text(f"<annotation><object><name>cat</name>{box}</object></annotation>")
    config = VocConfig(name="x", root=str(tmp_path))
    found = info.describe(catalog.read(config, seed=0), config)
    assert (found.fingerprint, found.evaluation_fingerprint) == VERSION_1


def test_an_evaluation_asks_for_its_own_split_alone():
    now = info.describe(DATA, CONFIG)
    then = {"class_names": [*now.class_names], "fingerprints": {"val": now.fingerprints["val"], "test": "other"}}
    assert info.is_still(now, then, "val")
    assert not info.is_still(now, then | {"fingerprints": {"val": "other"}}, "val")
    assert not info.is_still(now, then | {"class_names": ["dog", "cat"]}, "val")
    older = {"class_names": [*now.class_names], "evaluation_fingerprint": now.evaluation_fingerprint}
    assert info.is_still(now, older, "val")
    assert not info.is_still(now, older | {"evaluation_fingerprint": "other"}, "val")
