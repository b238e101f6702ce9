"""What is written as COCO, VOC or YOLO is read back the same; what a format cannot hold is lost as was said."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from headstart.config.schema import CocoConfig, FileDatasetConfig, Ignored, VocConfig, YoloConfig
from headstart.data import catalog, images
from headstart.data.boxes import box_areas
from headstart.data.images import FileImage
from headstart.data.info import describe
from headstart.data.types import AnnotatedImage, DetectionData
from headstart.data.writers import coco, voc, yolo
from headstart.data.writers.losses import Loss
from headstart.data.writers.pictures import Put
from headstart.errors import UserError

OF_THE_DATA = {
    *("similar_names", "doubtful_units", "class_in_one_split", "unused_class", "doubled_box", "box_of_two_classes"),
    *("tiny_box", "extreme_aspect", "exif_turned", "exif_raw", "exif_doubt", "exif_invalid"),
    *("greyscale", "palette", "transparent", "lying_suffix"),
}
"""What may be said of a set that was written, as of the drawn one: nothing that a writer does wrong."""
FORMATS = {"coco": (coco.write, CocoConfig), "voc": (voc.write, VocConfig), "yolo": (yolo.write, YoloConfig)}
CLASSES = (
    *("no", "on", "010", "1e3", "null", "~", "a: b", "- x", "#c", 'it\'s "q"', "<b>&amp;", "[x, y]", "{a}", "%s", "?"),
    *(
        "x\ty",
        "new\nline",
        "é",
        "e\u0301",
        "日本",
        "C\\D",
        "!!python/object:os.system",
        "*ref",
        "&anchor",
        "🐜",
        "x" * 300,
    ),
)
NOT_IN_XML = ("\x01control", " blank before", "behind\t", "\u2003wide", "a\rb")
FILES = (
    *("a b.png", "a.png", "A.png", "a.PNG", "a.jpg", "#1.png", "[x].png", "(y) {z}.png", "back\\slash.png", "a\\b.jpg"),
    *(
        "ü.png",
        "u\u0308.png",
        "x.jpg.png",
        "x.jpg",
        "classes.png",
        ".hidden.png",
        "sub/dir/0.png",
        "0.png",
        "dir/0.png",
    ),
    *(
        "train/0.png",
        "images/val/0.jpg",
        "1/2/3/4/5/6/7/8.png",
        "line\nbreak.png",
        "line\u2028s.png",
        " a .png",
        "-1.png",
    ),
    *(
        "0 -1.png",
        "a%20b.png",
        "../out.png",
        "/etc/passwd.png",
        "x.png/y.png",
        "x.xml/z.jpg",
        "a..png",
        "..png",
        "q?.png",
    ),
    *("x" * 240 + ".png", "日本.png", "\udcff.png", "masks/0.png", "C:/set/0.png", "file:/b.png", "$(rm).png", "*.png"),
)


@st.composite
def boxes_of(draw: st.DrawFn, width: int, height: int) -> np.ndarray:
    """Of any kind; not all in the first pixel, which the readers refuse."""

    def side(length: int) -> tuple[float, float]:
        number = st.one_of(
            st.integers(0, length), st.floats(0, length), st.integers(0, 8 * length).map(lambda n: n / 8)
        )
        start, end = sorted((float(draw(number)), float(draw(number))))
        end = min(max(end, start + draw(st.sampled_from([0.1, 0.1000001, 0.3, 1.0])), 1.5), float(length))
        return min(start, end - 0.1001) if end - start < 0.1 else start, end

    rows = [(side(width), side(height)) for _ in range(draw(st.integers(0, 4)))]
    return np.array([(x1, y1, x2, y2) for (x1, x2), (y1, y2) in rows]).reshape(-1, 4)


@st.composite
def data_sets(draw: st.DrawFn, classes: tuple[str, ...] = CLASSES) -> DetectionData:
    """Its pictures have no files yet."""
    names = draw(st.lists(st.sampled_from(classes), min_size=1, max_size=4, unique=True))
    splits = {
        split: [
            draw(pictures(name, len(names))) for name in draw(st.lists(st.sampled_from(FILES), min_size=1, max_size=5))
        ]
        for split in draw(st.sampled_from([("train", "val"), ("train", "val", "test")]))
    }
    assume(all(any(len(image.labels) for image in found) for found in splits.values()))
    return DetectionData("d", tuple(names), splits)


@st.composite
def pictures(draw: st.DrawFn, name: str, num_classes: int) -> AnnotatedImage:
    width, height = draw(st.integers(5, 300)), draw(st.integers(5, 300))
    boxes = draw(boxes_of(width, height))
    flags = st.lists(st.booleans(), min_size=len(boxes), max_size=len(boxes))
    labels = st.lists(st.integers(0, num_classes - 1), min_size=len(boxes), max_size=len(boxes))
    area = [draw(st.one_of(st.just(of_box), st.floats(0.01, 9e4))) for of_box in box_areas(boxes).tolist()]
    return AnnotatedImage(
        name=name,
        read=lambda: PIL.Image.new("RGB", (1, 1)),
        size_wh=(width, height),
        boxes_xyxy=boxes,
        labels=np.array(draw(labels), dtype=np.int64),
        crowd=np.array(draw(flags), dtype=bool),
        difficult=np.array(draw(flags), dtype=bool),
        area=np.array(area, dtype=np.float64),
    )


def with_files(data: DetectionData, pool: Path) -> DetectionData:
    """Each picture with a file, of its size and of a colour of its own."""
    pool.mkdir()
    splits: dict[str, list[AnnotatedImage]] = {}
    number = 0
    for split, found in data.splits.items():
        splits[split] = []
        for image in found:
            number += 1
            path = pool / f"{number}{os.path.splitext(image.name)[1] or '.png'}"
            colour = (number * 40 % 256, number * 90 % 256, number)
            PIL.Image.new("RGB", image.size_wh, colour).save(path, "JPEG" if path.suffix == ".jpg" else "PNG")
            facts = images.inspect(path)
            splits[split].append(replace(image, read=FileImage(path), digest=facts.digest))
    return replace(data, splits=splits)


def through(form: str, data: DetectionData, folder: Path, **how: object) -> tuple[DetectionData, dict[str, int]]:
    """(as it is read again, kind of loss -> count)."""
    write, kind = FORMATS[form]
    losses: list[Loss] = []
    folder.mkdir()
    write(data, folder, losses.append, **how)
    names = voc.held_names(data.class_names) if form == "voc" else []
    back = catalog.read(kind(name="d", root=str(folder), class_names=list(names)), seed=0)
    assert {defect.kind for defect in back.defects} <= OF_THE_DATA
    assert len({loss.kind for loss in losses}) == len(losses)
    return back, {loss.kind: loss.count for loss in losses}


def assert_same(back: DetectionData, data: DetectionData, atol: float = 1e-12) -> None:
    """Pictures by what they show, boxes in their order."""
    assert back.class_names == data.class_names
    assert [*back.splits] == [*data.splits]
    for split, found in data.splits.items():
        ours = {image.digest: image for image in back.splits[split]}
        assert len(ours) == len(found) == len(back.splits[split])
        for image in found:
            other = ours[image.digest]
            assert other.size_wh == image.size_wh
            np.testing.assert_allclose(other.boxes_xyxy, image.boxes_xyxy, rtol=0, atol=atol)
            for rows in ("labels", "crowd", "difficult"):
                np.testing.assert_array_equal(getattr(other, rows), getattr(image, rows))
            np.testing.assert_allclose(other.area, image.area, rtol=0, atol=0.101 if atol > 1e-12 else 0)


def changed(data: DetectionData, change) -> DetectionData:
    splits = {split: [replace(image, **change(image)) for image in found] for split, found in data.splits.items()}
    return replace(data, splits=splits)


def count(data: DetectionData, which) -> int:
    return sum(int(which(image).sum()) for found in data.splits.values() for image in found)


def said(**counts: int) -> dict[str, int]:
    return {kind: number for kind, number in counts.items() if number}


def of_outline(image: AnnotatedImage) -> np.ndarray:
    return image.area != box_areas(image.boxes_xyxy)


def fingerprint(data: DetectionData) -> str:
    return describe(data, FileDatasetConfig(name="d", root="")).fingerprint


def round_trip(drawn: DetectionData) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = with_files(drawn, root / "pool")
        first, losses = through("coco", data, root / "1")
        losses.pop("name", None)
        assert losses == {}
        assert_same(first, data)
        assert fingerprint(first) == fingerprint(data)

        second, losses = through("voc", first, root / "2")
        used = {int(label) for found in data.splits.values() for image in found for label in image.labels}
        kept = [name for number, name in enumerate(data.class_names) if number in used]
        assert losses == said(
            crowd=count(data, lambda image: image.crowd),
            area=count(data, of_outline),
            unused_class=len(data.class_names) - len(used),
            class_order=len(kept) if kept != sorted(kept) else 0,
        )
        as_voc = changed(
            data,
            lambda image: {
                "difficult": image.ignore,
                "crowd": np.zeros(len(image.labels), dtype=bool),
                "area": box_areas(image.boxes_xyxy),
            },
        )
        assert_same(second, as_voc)
        assert fingerprint(second) == fingerprint(as_voc)

        third, losses = through("yolo", second, root / "3")
        assert losses == said(difficult=count(as_voc, lambda image: image.difficult))
        as_yolo = changed(as_voc, lambda image: {"difficult": np.zeros(len(image.labels), dtype=bool)})
        assert_same(third, as_yolo, atol=1e-9)

        fourth, losses = through("coco", third, root / "4")
        assert losses == {}
        assert_same(fourth, third)
        assert fingerprint(fourth) == fingerprint(third)
        outside = {*os.listdir(root)} - {"pool", "1", "2", "3", "4"}
        assert not outside


CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


@settings(deadline=None, max_examples=6, suppress_health_check=CHECKS)
@given(data_sets())
def test_coco_voc_yolo_coco_loses_what_is_said_and_nothing_else(drawn):
    round_trip(drawn)


@pytest.mark.slow
@settings(deadline=None, max_examples=1000, suppress_health_check=CHECKS)
@given(data_sets())
def test_a_thousand_data_sets_make_the_round(drawn):
    round_trip(drawn)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("raw", [False, True], ids=["turned", "as stored"])
def test_boxes_stay_on_what_they_show_in_pictures_that_lie_on_their_side(tmp_path, form, orientation, raw):
    """A red patch, in a picture with an EXIF orientation, annotated upright or in the pixels as stored."""
    pixels = np.zeros((40, 60, 3), dtype=np.uint8)
    pixels[5:17, 30:50] = (255, 0, 0)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    PIL.Image.fromarray(pixels).save(path, exif=exif)
    facts = images.inspect(path)
    used = images.choose_orientation(facts, (60, 40) if raw else images.upright_size((60, 40), orientation))
    read = FileImage(path, used)
    red = np.argwhere(np.asarray(read())[:, :, 0] > 128)
    box = np.array([[*red.min(axis=0)[::-1], *red.max(axis=0)[::-1] + 1]], dtype=float)
    no = np.zeros(1, dtype=bool)
    image = AnnotatedImage(
        "a.png", read, read().size, box, np.zeros(1, dtype=np.int64), no, no, box_areas(box), facts.digest
    )
    data = DetectionData("d", ("red",), {"train": [image], "val": [negative(tmp_path)]})
    back, losses = through(form, data, tmp_path / form)
    (again,) = back.splits["train"]
    x1, y1, x2, y2 = again.boxes_xyxy.round().astype(int)[0]
    shown = np.asarray(again.read())[:, :, 0] > 128
    assert shown[y1:y2, x1:x2].all()
    assert shown.sum() == (y2 - y1) * (x2 - x1) == 240
    assert losses == said(turned=int(form == "yolo" and read.orientation == 1 and orientation >= 5))


def negative(folder: Path) -> AnnotatedImage:
    path = folder / "negative.png"
    PIL.Image.new("RGB", (8, 8), (0, 0, 9)).save(path)
    none = np.zeros(0, dtype=bool)
    boxes = np.zeros((0, 4))
    return AnnotatedImage(
        *("negative.png", FileImage(path), (8, 8), boxes, np.zeros(0, dtype=np.int64), none, none, np.zeros(0)),
        digest=images.inspect(path).digest,
    )


def patch(folder: Path, name: str, colour: int, **flags: bool) -> AnnotatedImage:
    path = folder / name
    PIL.Image.new("RGB", (40, 40), (colour, 0, 0)).save(path, "PNG")
    boxes = np.array([[1.0, 2.0, 20.0, 30.0], [5.0, 5.0, 10.0, 10.0]])
    rows = {kind: np.array([flags.get(kind, False), False]) for kind in ("crowd", "difficult")}
    labels, area = np.zeros(2, dtype=np.int64), box_areas(boxes)
    return AnnotatedImage(
        name, FileImage(path), (40, 40), boxes, labels, **rows, area=area, digest=images.inspect(path).digest
    )


@pytest.mark.parametrize(
    ("ignored", "left", "losses"),
    [
        (Ignored.keep, (2, 4), {"crowd": 1, "difficult": 1}),
        (Ignored.drop, (2, 3), {"crowd": 1, "difficult": 1}),
        (Ignored.skip_image, (1, 2), {"crowd": 1, "difficult": 1, "picture": 2}),
    ],
)
def test_what_yolo_cannot_mark_becomes_what_the_user_chose(tmp_path, ignored, left, losses):
    splits = {
        "train": [patch(tmp_path, "a.png", 1, crowd=True), patch(tmp_path, "b.png", 2)],
        "val": [patch(tmp_path, "c.png", 3, difficult=True), patch(tmp_path, "d.png", 4)],
    }
    back, found = through("yolo", DetectionData("d", ("ant",), splits), tmp_path / "yolo", ignored=ignored)
    assert found == losses
    assert (len(back.splits["train"]), sum(len(image.labels) for image in back.splits["train"])) == left


def test_two_classes_that_xml_cannot_tell_apart_are_refused(tmp_path):
    splits = {"train": [patch(tmp_path, "a.png", 1)], "val": [patch(tmp_path, "b.png", 2)]}
    with pytest.raises(UserError, match="'ant '"):
        voc.write(DetectionData("d", ("ant ", "ant"), splits), tmp_path / "voc", print)


def test_class_names_that_xml_cannot_have_are_changed_and_said(tmp_path):
    splits = {"train": [patch(tmp_path, "a.png", 1)], "val": [patch(tmp_path, "b.png", 2)]}
    back, losses = through("voc", DetectionData("d", ("\x01control ",), splits), tmp_path / "voc")
    assert back.class_names == ("_control",)
    assert losses == {"class_name": 1}


def test_a_link_is_the_same_file_and_a_copy_is_not(tmp_path):
    splits = {"train": [patch(tmp_path, "a.png", 1)], "val": [patch(tmp_path, "b.png", 2)]}
    for link in (True, False):
        through("coco", DetectionData("d", ("ant",), splits), tmp_path / str(link), put=Put(link))
        assert (tmp_path / str(link) / "images/train/a.png").samefile(tmp_path / "a.png") is link


REAL = {
    "coco208": YoloConfig(name="d", root="coco208", val_split="val"),
    "bccd": VocConfig(name="d", root="bccd"),
    "fruit": VocConfig(name="d", root="fruit"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_sets_make_the_round(name, tmp_path):
    if "HEADSTART_DATA" not in os.environ:
        pytest.skip("HEADSTART_DATA is not set")
    config = replace(REAL[name], root=os.path.join(os.environ["HEADSTART_DATA"], name))
    data = catalog.read(config, seed=0)
    for number, form in enumerate(("coco", "voc", "yolo", "coco")):
        back, losses = through(form, data, tmp_path / str(number), put=Put(link=True))
        if form == "yolo":
            assert losses == said(difficult=count(data, lambda image: image.difficult))
        else:
            assert fingerprint(back) == fingerprint(data)
        data = back
