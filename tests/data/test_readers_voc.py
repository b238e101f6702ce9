from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from headstart.config.schema import Overlap, VocConfig
from headstart.data.readers import voc
from headstart.errors import UserError

OBJECT = (
    "<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>"
    "<ymax>{}</ymax></bndbox></object>"
)
CAT = ("cat", 0, 10, 20, 30, 40)


def write(root: Path, image: str, xml: str | None, *objects: tuple, size=(64, 48), said="64x48") -> None:
    shade = sum(image.encode()) % 256
    (root / image).parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", size, (shade, len(image), 0)).save(root / image)
    if xml is not None:
        width, height = said.split("x")
        top = f"<annotation><size><width>{width}</width><height>{height}</height></size>"
        (root / xml).parent.mkdir(parents=True, exist_ok=True)
        (root / xml).write_text(top + "".join(OBJECT.format(*item) for item in objects) + "</annotation>")


def read(root: Path, **settings):
    return voc.read(VocConfig(name="mine", root=str(root), **settings))


def names(data) -> dict[str, list[str]]:
    return {split: [Path(image.name).stem for image in images] for split, images in data.splits.items()}


@pytest.mark.parametrize(
    ("image", "xml"),
    [
        ("JPEGImages/{}.png", "Annotations/{}.xml"),
        ("images/{}.png", "annots/{}.xml"),
        ("nested/JPEGImages/{}.png", "nested/Annotations/{}.xml"),
        ("devkit/VOC2007/JPEGImages/{}.png", "devkit/VOC2007/Annotations/{}.xml"),
        ("{}.png", "{}.xml"),
        ("{}.PNG", "xmls/{}.XML"),
        ("images/a b/{}.png", "annotations/a b/{}.xml"),
    ],
)
def test_layouts_without_splits_are_read_and_a_fifth_is_kept_for_validation(tmp_path, image, xml):
    for number in range(10):
        write(tmp_path, image.format(number), xml.format(number), CAT)
    data = read(tmp_path)
    assert {split: len(images) for split, images in data.splits.items()} == {"train": 8, "val": 2}
    assert all(item.boxes_xyxy.tolist() == [[10, 20, 30, 40]] for item in data.splits["train"])
    assert data.defects == ()


@pytest.mark.parametrize(
    ("image", "xml"),
    [
        ("{split}/{name}.png", "{split}/{name}.xml"),
        ("{split}/images/{name}.png", "{split}/annotations/{name}.xml"),
        ("images/{split}/{name}.png", "annotations/{split}/{name}.xml"),
    ],
)
def test_folders_named_after_splits_are_the_splits(tmp_path, image, xml):
    for split, name in (("train", "a"), ("train", "b"), ("val", "c"), ("test", "d")):
        write(tmp_path, image.format(split=split, name=name), xml.format(split=split, name=name), CAT)
    data = read(tmp_path)
    assert names(data) == {"train": ["a", "b"], "val": ["c"], "test": ["d"]}
    assert data.splits_from == {"train": "found: train", "val": "found: val", "test": "found: test"}


def test_a_folder_named_test_is_kept_for_the_end_and_chooses_nothing(tmp_path):
    for split, name in (*(("train", name) for name in "abcde"), ("test", "z")):
        write(tmp_path, f"{split}/{name}.png", f"{split}/{name}.xml", CAT)
    data = read(tmp_path)
    assert {split: len(images) for split, images in data.splits.items()} == {"train": 4, "val": 1, "test": 1}
    assert names(data)["test"] == ["z"]
    assert data.splits_from == {
        "train": "the rest of train",
        "val": "drawn: 0.2 of train, dataset.split_seed=0",
        "test": "found: test",
    }
    assert names(read(tmp_path, val_split="test")) == {"train": [*"abcde"], "val": ["z"]}
    assert "test" not in names(read(tmp_path, test_split="none"))


def test_a_test_split_is_drawn_where_there_is_none(tmp_path):
    for name in "abcdefghij":
        write(tmp_path, f"{name}.png", f"{name}.xml", CAT)
    made = names(read(tmp_path, test_fraction=0.3))
    assert {split: len(images) for split, images in made.items()} == {"train": 5, "val": 2, "test": 3}
    assert names(read(tmp_path, test_fraction=0.3, fraction=0.1))["test"] == made["test"]


def with_lists(root: Path, **lists: str) -> None:
    for name in "abcdef":
        write(root, f"JPEGImages/{name}.png", f"Annotations/{name}.xml", CAT)
    (root / "ImageSets/Main").mkdir(parents=True)
    for split, content in lists.items():
        (root / f"ImageSets/Main/{split}.txt").write_text("\n".join(content.split(" ")) + "\n")


def test_lists_decide(tmp_path):
    with_lists(tmp_path, train="a b", val="c", test="d.png", trainval="a b c", cat_train="a b")
    assert names(read(tmp_path)) == {"train": ["a", "b"], "val": ["c"], "test": ["d"]}
    with_val = names(read(tmp_path, train_split="trainval"))
    assert (sorted(with_val["train"] + with_val["val"]), with_val["test"]) == (["a", "b", "c"], ["d"])
    convention = names(read(tmp_path, train_split="trainval", val_split="test"))
    assert convention == {"train": ["a", "b", "c"], "val": ["d"]}


def test_a_list_of_images_without_labels_is_no_test_split_unless_it_is_named(tmp_path):
    with_lists(tmp_path, train="a b", val="c", test="y z")
    write(tmp_path, "JPEGImages/y.png", None)
    data = read(tmp_path)
    assert set(names(data)) == {"train", "val"}
    found = [(defect.kind, defect.where, defect.action) for defect in data.defects]
    assert found == [("unlabelled_test", "the split test", "not measured")]
    with pytest.raises(UserError, match="split test"):
        read(tmp_path, test_split="test")


def test_a_listed_name_may_hold_blanks_and_be_followed_by_a_flag(tmp_path):
    write(tmp_path, "JPEGImages/my cat 1.png", "Annotations/my cat 1.xml", CAT)
    with_lists(tmp_path, train="a", val="c")
    (tmp_path / "ImageSets/Main/train.txt").write_text("my cat 1\na  1\nb -1\n")
    assert names(read(tmp_path))["train"] == ["my cat 1", "a", "b"]


def test_a_list_names_a_missing_image_and_the_others_are_read(tmp_path):
    with_lists(tmp_path, train="a b gone", val="c")
    data = read(tmp_path)
    assert names(data) == {"train": ["a", "b"], "val": ["c"]}
    assert [(defect.kind, defect.where) for defect in data.defects] == [
        ("missing_image", "ImageSets/Main/train.txt:3: gone")
    ]


def test_all_is_every_image_of_no_other_split(tmp_path):
    with_lists(tmp_path, train="a", val="c", test="d")
    read_names = names(read(tmp_path, train_split="all", test_split="test"))
    assert read_names["test"] == ["d"]
    assert sorted(read_names["train"] + read_names["val"]) == ["a", "b", "c", "e", "f"]


def test_one_based_corners_are_moved_so_that_the_first_pixel_is_0_to_1(tmp_path):
    for name in "ab":
        write(tmp_path, f"{name}.png", f"{name}.xml", ("cat", 0, 1, 1, 1, 48))
    data = read(tmp_path, one_based=True)
    assert data.splits["train"][0].boxes_xyxy.tolist() == [[0, 0, 1, 48]]


def test_every_broken_box_is_mended_and_named(tmp_path):
    objects = [
        ("cat", 0, 5, 5, 5, 9),  # no width
        ("cat", 0, 9, 5, 5, 9),  # corners swapped
        ("cat", 0, 70, 5, 80, 9),  # right of the image
        ("cat", 0, -3, 5, 10, 50),  # over two edges
        ("dog", 1, 0, 0, 64.3, 48),  # over an edge by rounding
        ("cat", 0, 1, 1, 2, 3),  # small, and fine
        ("cat", 0, "nan", 1, 2, 3),
    ]
    write(tmp_path, "train/a.png", "train/a.xml", *objects)
    write(tmp_path, "val/b.png", "val/b.xml", CAT)
    data = read(tmp_path)
    (image,) = data.splits["train"]
    assert image.boxes_xyxy.tolist() == [[0, 5, 10, 48], [0, 0, 64, 48], [1, 1, 2, 3]]
    assert [data.class_names[label] for label in image.labels] == ["cat", "dog", "cat"]
    assert image.difficult.tolist() == [False, True, False]
    assert not image.crowd.any()
    assert image.area.tolist() == [10 * 43, 64 * 48, 2]
    found = [(defect.kind, defect.where.split(":")[1].strip()) for defect in data.defects]
    assert sorted(found) == [
        ("box_outside", "object 3"),
        ("clipped_box", "object 4"),
        ("empty_box", "object 1"),
        ("inverted_box", "object 2"),
        ("not_finite_box", "object 7"),
        ("tiny_box", "object 6"),
    ]


def test_xml_without_objects_is_a_negative_and_an_image_without_xml_is_skipped(tmp_path):
    write(tmp_path, "train/empty.png", "train/empty.xml")
    write(tmp_path, "train/full.png", "train/full.xml", CAT)
    write(tmp_path, "train/unlabelled.png", None)
    write(tmp_path, "val/b.png", "val/b.xml", CAT)
    data = read(tmp_path)
    assert names(data)["train"] == ["empty", "full"]
    assert data.splits["train"][0].boxes_xyxy.shape == (0, 4)
    assert [(defect.kind, defect.where) for defect in data.defects] == [("missing_annotation", "train/unlabelled.png")]


def test_the_image_knows_its_size_better_than_the_xml(tmp_path):
    for name in "ab":
        write(tmp_path, f"{name}.png", f"{name}.xml", CAT, said="0x0")
    data = read(tmp_path)
    assert data.splits["train"][0].size_wh == (64, 48)
    assert {defect.kind for defect in data.defects} == {"zero_size"}


def test_a_truncated_image_is_skipped_and_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for name in "abc":
        write(tmp_path, f"{name}.jpg", f"{name}.xml", CAT)
        PIL.Image.fromarray(np.roll(noise, ord(name))).save(tmp_path / f"{name}.jpg")
    whole = (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[: len(whole) // 2])
    data = read(tmp_path)
    assert sorted(names(data)["train"] + names(data)["val"]) == ["a", "c"]
    assert data.defects[0].kind == "unreadable_image"
    assert "b.jpg" in data.defects[0].where


def test_the_same_picture_in_both_given_splits_is_validated_on_alone_and_reported(tmp_path):
    for name in "ac":
        write(tmp_path, f"train/{name}.png", f"train/{name}.xml", CAT)
    write(tmp_path, "val/b.png", "val/b.xml", CAT)
    (tmp_path / "val/b.png").write_bytes((tmp_path / "train/a.png").read_bytes())
    data = read(tmp_path)
    assert names(data) == {"train": ["c"], "val": ["b"]}
    (defect,) = data.defects
    assert (defect.kind, defect.action) == ("split_overlap", "left out of train")
    assert defect.where == "train/a.png (train) is the picture val/b.png (val)"
    assert names(read(tmp_path, overlap=Overlap.keep)) == {"train": ["a", "c"], "val": ["b"]}


@pytest.mark.parametrize(
    ("xml", "says"),
    [
        ("<annotation><object>", ["train/a.xml", "not a readable xml file"]),
        ('<!DOCTYPE x [<!ENTITY a "b">]><annotation>&a;</annotation>', ["train/a.xml", "not a readable xml file"]),
        ("<annotation>" + OBJECT.format("cat", 0, 1, "two", 3, 4) + "</annotation>", ["object 1", "ymin", "'two'"]),
        ("<annotation><object><name>cat</name></object></annotation>", ["object 1", "bndbox/xmin is missing"]),
        ("<annotation>" + OBJECT.format("", 0, 1, 2, 3, 4) + "</annotation>", ["object 1", "<name>"]),
    ],
)
def test_what_cannot_be_read_is_refused_naming_file_and_object(tmp_path, xml, says):
    write(tmp_path, "train/a.png", "train/a.xml", CAT)
    write(tmp_path, "val/b.png", "val/b.xml", CAT)
    (tmp_path / "train/a.xml").write_text(xml)
    with pytest.raises(UserError) as caught:
        read(tmp_path)
    assert all(part in str(caught.value) for part in ["a.xml", *says])


def test_class_names_give_the_order_and_must_be_complete(tmp_path):
    for split in ("train", "val"):
        write(tmp_path, f"{split}/{split}.png", f"{split}/{split}.xml", CAT, ("ant", 0, 1, 1, 9, 9))
    assert read(tmp_path).class_names == ("ant", "cat")
    data = read(tmp_path, class_names=["cat", "bee", "ant"])
    assert data.class_names == ("cat", "bee", "ant")
    assert data.splits["train"][0].labels.tolist() == [0, 2]
    with pytest.raises(UserError, match=r"train\.xml: object 2: class 'ant' is not in dataset.class_names=\[cat\]"):
        read(tmp_path, class_names=["cat"])


def test_wrong_roots_say_what_was_looked_for(tmp_path):
    with pytest.raises(UserError, match=r"nowhere does not exist; set HEADSTART_DATA"):
        read(tmp_path / "nowhere")
    with pytest.raises(UserError, match="JPEGImages/ \\+ Annotations/"):
        read(tmp_path)


def test_two_images_of_one_xml_are_refused(tmp_path):
    write(tmp_path, "images/a.png", "annots/a.xml", CAT)
    write(tmp_path, "images/a.jpg", None)
    with pytest.raises(UserError, match=r"1 ambiguous_image .*annots/a\.xml fits images/a\.jpg and images/a\.png"):
        read(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        '<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>',
        "<html><body>not found</body></html>",
        '<kml xmlns="http://www.opengis.net/kml/2.2"><object/></kml>',
        "<annotations><image/></annotations>",
    ],
)
def test_an_xml_that_is_no_annotation_is_refused_and_no_negative(tmp_path, text):
    for name in "abcdef":
        write(tmp_path, f"{name}.png", f"{name}.xml", CAT)
    for name in "bc":
        (tmp_path / f"{name}.xml").write_text(text)
    hint = r" \(CVAT's own: dataset=cvat_folder\)" if text.startswith("<annotations>") else ""
    with pytest.raises(UserError, match=rf"^2 malformed_file .*b\.xml: begins with <\w+>{hint}, where .*; c\.xml: "):
        read(tmp_path)


@pytest.mark.parametrize("top", ["<{}>", '<{} xmlns="http://example.org/voc">', '<v:{} xmlns:v="urn:voc">'])
@pytest.mark.parametrize("case", [str.upper, str.title, str.lower])
def test_names_of_tags_are_read_in_any_case_and_namespace(tmp_path, top, case):
    for name in "ab":
        write(tmp_path, f"{name}.png", f"{name}.xml", ("Cat", 1, 10, 20, 30, 40))
        whole = (tmp_path / f"{name}.xml").read_text()
        inner = whole.removeprefix("<annotation>").removesuffix("</annotation>")
        for tag in ("object", "name", "bndbox", "xmin", "ymin", "xmax", "ymax", "difficult", "size", "width", "height"):
            prefix = "v:" if "v:" in top else ""
            inner = inner.replace(f"<{tag}>", f"<{prefix}{case(tag)}>").replace(f"</{tag}>", f"</{prefix}{case(tag)}>")
        opening = top.format(case("annotation"))
        closing = f"</{opening[1:].split(' ')[0].removesuffix('>')}>"
        (tmp_path / f"{name}.xml").write_text(opening + inner + closing)
    (image,) = read(tmp_path).splits["train"]
    assert (image.boxes_xyxy.tolist(), image.difficult.tolist()) == ([[10, 20, 30, 40]], [True])


@pytest.mark.parametrize(
    ("image", "xml"),
    [
        ("images/p{}.png", "annotations/p{}.png.xml"),
        ("images/p{}.PNG", "annotations/p{}.png.xml"),
        ("images/p{}.png", "annotations/P{}.xml"),
        ("Images/Train/p{}.png", "ANNOTATIONS/train/p{}.XML"),
        ("p{}.x.png", "p{}.x.png.xml"),
    ],
)
def test_an_xml_is_matched_with_both_suffixes_and_in_another_letter_case(tmp_path, image, xml):
    for number in range(5):
        write(tmp_path, image.format(number), xml.format(number), CAT)
    data = read(tmp_path)
    assert [len(image.labels) for images in data.splits.values() for image in images] == [1] * 5


def test_two_pictures_of_one_stem_have_an_xml_each_where_it_says_which(tmp_path):
    for suffix in ("png", "bmp"):
        write(tmp_path, f"a.{suffix}", f"a.{suffix}.xml", CAT)
    data = read(tmp_path)
    assert sorted(image.name for images in data.splits.values() for image in images) == ["a.bmp", "a.png"]


@pytest.mark.parametrize(
    ("folder", "lists"),
    [
        ("images/train", "ImageSets/Main"),
        ("VOCdevkit/VOC2007/JPEGImages", "ImageSets/Main"),
        ("JPEGImages", "VOCdevkit/VOC2007/ImageSets/Main"),
        ("Data/JPEGIMAGES", "imagesets/MAIN"),
    ],
)
def test_an_entry_of_a_list_that_names_one_file_is_found_wherever_the_list_is(tmp_path, folder, lists):
    for name in ("a", "b 1", "c"):
        write(tmp_path, f"{folder}/{name}.png", f"{folder}/{name}.xml", CAT)
    (tmp_path / lists).mkdir(parents=True)
    (tmp_path / lists / "Train.txt").write_text("a 1\nb 1\n")
    (tmp_path / lists / "val.TXT").write_text("c\n")
    data = read(tmp_path)
    assert names(data) == {"train": ["a", "b 1"], "val": ["c"]}
    assert data.defects == ()


def test_an_entry_that_fits_two_files_is_refused_and_both_are_shown(tmp_path):
    for folder in ("one", "two"):
        write(tmp_path, f"{folder}/a.png", f"{folder}/a.xml", CAT)
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\n")
    with pytest.raises(UserError, match=r"train\.txt:1: 'a' fits 2 files, such as one/a and two/a"):
        read(tmp_path)


def test_an_infinite_size_is_a_wrong_size(tmp_path):
    for name in "ab":
        write(tmp_path, f"{name}.png", f"{name}.xml", CAT, said="infxinf")
    assert len(read(tmp_path).splits["train"]) == 1
