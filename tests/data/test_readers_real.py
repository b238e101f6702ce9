"""The real sets, by their named configurations, against their SOURCE.md and an independent reading."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf

from headstart.config.schema import CocoConfig, FileDatasetConfig, Overlap, VocConfig, YoloConfig
from headstart.config.schemas import SCHEMAS
from headstart.data import catalog
from headstart.data.types import AnnotatedImage, DetectionData
from headstart.errors import UserError

CONF = Path(__file__).resolve().parents[2] / "conf" / "dataset"


def read(name: str, real_data: Path) -> DetectionData:
    choice = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    schema = SCHEMAS["dataset"][choice.pop("defaults")[0].removeprefix("schema_")]
    node = OmegaConf.merge(OmegaConf.structured(schema), choice)
    config = OmegaConf.to_object(OmegaConf.create({"data_dir": str(real_data), "dataset": node}).dataset)
    assert isinstance(config, FileDatasetConfig)
    return catalog.read(config, seed=0)


def images_of(data: DetectionData) -> list[AnnotatedImage]:
    return [image for images in data.splits.values() for image in images]


def per_class(data: DetectionData) -> dict[str, int]:
    return dict(Counter(data.class_names[label] for image in images_of(data) for label in image.labels))


def kinds(data: DetectionData) -> dict[str, int]:
    return dict(Counter(defect.kind for defect in data.defects))


def objects(data: DetectionData) -> Counter:
    """(file name, class, box) with boxes to 1e-6 of a pixel."""
    return Counter(
        (Path(image.name).name, data.class_names[label], *np.round(box, 6).tolist())
        for image in images_of(data)
        for label, box in zip(image.labels, image.boxes_xyxy, strict=True)
    )


COCO208 = {
    "label_without_image": 2,
    "unlabelled_image": 2,
    "tiny_box": 3,
    "class_in_one_split": 13,
    "unused_class": 5,
    "greyscale": 2,
}
"""2 of its 208 pictures have no label and 2 labels no picture; 75 of its 80 classes occur."""
FRUIT = {"zero_size": 37, "wrong_depth": 29, "lying_suffix": 37, "transparent": 25, "palette": 4, "exif_invalid": 3}


@pytest.mark.parametrize(
    ("name", "num_images", "num_boxes", "num_classes", "defects"),
    [
        ("bccd", {"train": 205, "val": 87, "test": 72}, 4888 - 2, 3, {"empty_box": 2}),
        (
            "kangaroo",
            {"train": 130, "val": 33},
            266 - 3,
            1,
            {"unreadable_image": 1, "exif_invalid": 2, "equal_images": 1},
        ),
        ("fruit", {"train": 192, "val": 48, "test": 60}, 582, 3, FRUIT),
        ("facemask_510", {"train": 360, "val": 150}, 2548, 3, {"tiny_box": 3}),
        ("rsod_110", {"train": 88, "val": 22}, 960, 4, {"clipped_box": 21, "equal_images_other_boxes": 4}),
        ("coco208", {"train": 128, "val": 80}, 1461, 80, COCO208),
        ("voc2007_1000", {"train": 800, "val": 200}, 3240, 20, {}),
    ],
)
def test_counts_and_defects_are_those_of_source_md(real_data, name, num_images, num_boxes, num_classes, defects):
    data = read(name, real_data)
    assert {split: len(images) for split, images in data.splits.items()} == num_images
    assert sum(per_class(data).values()) == num_boxes
    assert len(data.class_names) == num_classes
    assert kinds(data) == defects


def test_per_class_counts_are_those_of_source_md(real_data):
    assert per_class(read("bccd", real_data)) == {"RBC": 4155 - 2, "WBC": 372, "Platelets": 361}
    assert per_class(read("fruit", real_data)) == {"banana": 209, "apple": 191, "orange": 182}
    assert per_class(read("facemask_510", real_data)) == {
        "with_mask": 1986,
        "without_mask": 494,
        "mask_weared_incorrect": 68,
    }


def test_bccd_boxes_are_those_of_its_csv(real_data):
    with (real_data / "bccd" / "test.csv").open() as file:
        rows = [
            ((row["filename"], row["cell_type"]), [float(row[key]) for key in ("xmin", "ymin", "xmax", "ymax")])
            for row in csv.DictReader(file)
        ]
    found = Counter((*names, *box) for names, box in rows if box[0] < box[2] and box[1] < box[3])
    assert objects(read("bccd", real_data)) == found


def test_fruit_boxes_are_those_of_its_labelme_json(real_data):
    found: Counter = Counter()
    for path in (real_data / "fruit").rglob("*.json"):
        for shape in json.loads(path.read_text())["shapes"]:
            low, high = np.min(shape["points"], axis=0), np.max(shape["points"], axis=0)
            found[(f"{path.stem}.jpg", shape["label"], *low.tolist(), *high.tolist())] += 1
    assert objects(read("fruit", real_data)) == found


def test_every_fruit_image_is_rgb_of_the_stated_size(real_data):
    for image in read("fruit", real_data).splits["val"]:
        pixels = image.read()
        assert (pixels.mode, pixels.size) == ("RGB", image.size_wh), image.name


def test_kangaroo_names_the_truncated_image_and_keeps_equal_pictures_on_one_side(real_data):
    data = read("kangaroo", real_data)
    (broken,) = (defect for defect in data.defects if defect.kind == "unreadable_image")
    assert broken.where.startswith("images/00090.jpg: ")
    assert_pairs_are_together(data, [("00007", "00033")])


def test_rsod_keeps_equal_pictures_on_one_side(real_data):
    data = read("rsod_110", real_data)
    numbers = [(1023, 119), (104, 719), (200, 881), (523, 822)]
    assert_pairs_are_together(data, [(f"aircraft_{a}", f"aircraft_{b}") for a, b in numbers])


@pytest.mark.parametrize("overlap", [Overlap.move, Overlap.keep])
def test_rsods_own_lists_are_kept_apart(real_data, overlap):
    """Three of its four pairs of equal pictures, which have different boxes, stand on both sides of its lists."""
    root = real_data / "rsod_110"
    listed = {name: (root / f"ImageSets/Main/{name}.txt").read_text().split() for name in ("trainval", "test")}
    files = {
        name: hashlib.md5((root / f"JPEGImages/{name}.jpg").read_bytes()).hexdigest()
        for name in (*listed["trainval"], *listed["test"])
    }
    measured = {files[name] for name in listed["test"]}
    clean = {name for name in listed["trainval"] if files[name] not in measured}
    assert len(listed["trainval"]) - len(clean) == 3
    data = catalog.read(VocConfig(name="rsod", root=str(root), val_split="test", overlap=overlap), seed=0)
    assert {Path(image.name).stem for image in data.splits["val"]} == set(listed["test"])
    expected = clean if overlap is Overlap.move else set(listed["trainval"])
    assert {Path(image.name).stem for image in data.splits["train"]} == expected
    assert kinds(data)["split_overlap"] == 3


def assert_pairs_are_together(data: DetectionData, pairs: list[tuple[str, str]]) -> None:
    side = {Path(image.name).stem: split for split, images in data.splits.items() for image in images}
    digest = {Path(image.name).stem: image.digest for image in images_of(data)}
    for first, second in pairs:
        assert digest[first] == digest[second]
        assert side[first] == side[second]


def test_genuine_voc_boxes_are_one_pixel_larger_than_the_difference_of_their_corners(real_data):
    data = read("voc2007_1000", real_data)
    (image,) = (image for image in images_of(data) if image.name.endswith("000006.jpg"))
    items = ElementTree.parse(real_data / "voc2007_1000/Annotations/000006.xml").findall("object")
    first = [int(items[0].findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")]
    assert first == [187, 135, 282, 242]
    assert image.boxes_xyxy[0].tolist() == [186, 134, 282, 242]
    assert sum(int(image.difficult.sum()) for image in images_of(data)) == 727
    assert not any(image.crowd.any() for image in images_of(data))


def test_coco208_as_yolo_equals_its_coco_json(real_data):
    root = str(real_data / "coco208")
    coco = catalog.read(CocoConfig(name="coco", root=root, train_json="annotations/instances_train2017.json"), seed=0)
    yolo = catalog.read(YoloConfig(name="yolo", root=root), seed=0)
    by_file = {Path(image.name).name: image for image in images_of(coco)}
    assert coco.class_names == yolo.class_names
    assert len(by_file) == len(yolo.splits["train"]) == 128
    for image in yolo.splits["train"]:
        other = by_file[Path(image.name).name]
        theirs = zip(other.labels[~other.ignore], other.boxes_xyxy[~other.ignore], strict=True)
        assert rounded(zip(image.labels, image.boxes_xyxy, strict=True)) == rounded(theirs)


def rounded(items: Iterable[tuple[int, np.ndarray]]) -> Counter:
    """Boxes to a hundredth of a pixel, as COCO writes them."""
    return Counter((int(label), *np.round(box, 2).tolist()) for label, box in items)


def test_coco208_boxes_are_those_pycocotools_reads(real_data):
    COCO = pytest.importorskip("pycocotools.coco").COCO
    path = real_data / "coco208/annotations/instances_train2017.json"
    reference = COCO(str(path))
    found: Counter = Counter()
    for annotation in reference.loadAnns(reference.getAnnIds()):
        x, y, width, height = annotation["bbox"]
        name = reference.loadImgs(annotation["image_id"])[0]["file_name"]
        corners = np.round([x, y, x + width, y + height], 6).tolist()
        found[(name, reference.loadCats(annotation["category_id"])[0]["name"], *corners)] += 1
    data = catalog.read(CocoConfig(name="coco", root=str(path.parents[1])), seed=0)
    assert objects(data) == found
    assert sum(int(image.crowd.sum()) for image in images_of(data)) == 10
    assert not any(image.difficult.any() for image in images_of(data))
    areas = sorted(annotation["area"] for annotation in reference.loadAnns(reference.getAnnIds()))
    assert sorted(area for image in images_of(data) for area in image.area.tolist()) == areas


def test_a_json_of_another_export_is_refused_and_its_good_half_can_be_read(real_data):
    root = str(real_data / "openimages5_broken")
    with pytest.raises(UserError, match=r"instances_train2017.json: 600 of the 600 images of the split train"):
        catalog.read(CocoConfig(name="broken", root=root), seed=0)
    data = catalog.read(CocoConfig(name="good", root=root, train_split="val2017"), seed=0)
    assert per_class(data) == {"Person": 19, "Boat": 6, "Apple": 5, "Bird": 5, "Bicycle": 2}
    assert data.class_names == ("Apple", "Bicycle", "Bird", "Boat", "Person")
