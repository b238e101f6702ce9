"""What the user sees of the data before training, and what is refused."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from rich.console import Console

from headstart.config import schema as s
from headstart.data import catalog, info
from headstart.data.refusals import check_data
from headstart.data.show import dataset_report, dataset_table
from headstart.data.types import DatasetInfo, Unused
from headstart.errors import UserError

CAT, DOG = "<name>cat</name>", "<name>dog</name>"
HARD_CAT = "<name>cat</name><difficult>1</difficult>"


def voc(root: Path, **folders: Sequence[str]) -> s.VocConfig:
    """A picture with an xml for each of a folder's texts, which stand before the box of its one object, if any."""
    number = 0
    for folder, texts in folders.items():
        for text in texts:
            (root / folder).mkdir(parents=True, exist_ok=True)
            number += 1
            PIL.Image.new("RGB", (20, 20), (number, 0, 0)).save(root / folder / f"{number}.png")
            box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
            item = f"<object>{text}{box}</object>" if text else ""
            (root / folder / f"{number}.xml").write_text(f"<annotation>{item}</annotation>")
    return s.VocConfig(name="mine", root=str(root))


def coco(root: Path, **flags: Any) -> s.CocoConfig:
    """Five pictures in train and in val, with one object each; `val_iscrowd=1` is for those of val alone."""
    for split in ("train", "val"):
        own = {key.removeprefix(f"{split}_"): value for key, value in flags.items() if key.startswith(f"{split}_")}
        images, annotations = [], []
        for number in range(5):
            name = f"{split}{number}.png"
            PIL.Image.new("RGB", (20, 20), (number, len(split), 0)).save(root / name)
            images.append({"id": number, "file_name": name, "width": 20, "height": 20})
            annotations.append({"image_id": number, "category_id": 1, "bbox": [1, 2, 8, 7], **own})
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
        (root / f"{split}.json").write_text(json.dumps(content))
    return s.CocoConfig(name="mine", root=str(root))


def described(config: s.DatasetConfig) -> DatasetInfo:
    return info.describe(catalog.read(config, seed=0), config)


def lines(config: s.DatasetConfig) -> list[str]:
    """As printed, without the blanks between the columns."""
    text = io.StringIO()
    console = Console(file=text, width=200)
    console.print(*dataset_report(described(config), config), soft_wrap=True)
    return [" ".join(line.split()) for line in text.getvalue().splitlines() if line.strip() and "──" not in line]


def check(config: s.DatasetConfig, **monitor: str) -> None:
    check_data(described(config), s.RunConfig(dataset=config, monitor=s.MonitorConfig(**monitor)))


def test_the_table_counts_what_each_split_holds_and_says_where_it_is_from(tmp_path):
    config = voc(tmp_path, train=[CAT, DOG, HARD_CAT, ""], val=[CAT, DOG])
    assert lines(config) == [
        "Data: mine",
        "split pictures negatives boxes ignored classes from",
        "train 4 2 2 1 difficult 2 of 2 found: train",
        "val 2 0 2 0 2 of 2 found: val",
    ]


def test_the_table_says_whether_a_split_was_drawn_and_how_much_of_train_is_used(tmp_path):
    config = voc(tmp_path, train=[CAT, DOG] * 5, val=[CAT, DOG] * 5)
    config.test_fraction, config.fraction = 0.2, 0.5
    assert [line.split(" of 2 ")[1] for line in lines(config)[2:5]] == [
        "the rest of train, dataset.fraction=0.5 of its 8",
        "found: val",
        "drawn: 0.2 of train, dataset.split_seed=0",
    ]


def test_a_crowd_and_a_difficult_object_are_told_apart_in_the_table(tmp_path):
    assert "5 crowd, 5 difficult" in lines(coco(tmp_path, train_iscrowd=1, train_difficult=1, val_ignore=1))[2]


def test_what_a_user_calls_his_things_is_printed_as_it_is(tmp_path):
    """Square brackets are markup to what prints, and a name between colons a picture."""
    config = voc(tmp_path / "[red]", train=["<name>[/bold]</name>"], val=["<name>:car:</name>"])
    config.name = "[dim]mine:car:"
    text = lines(config)
    assert text[0] == "Data: [dim]mine:car:"
    assert "- In train only, so that no mAP measures them: [/bold]" in text
    assert any(line.endswith(": :car: (val: 1)") for line in text)


def test_a_setting_that_would_draw_a_split_is_said_to_have_no_effect_where_all_are_found(tmp_path):
    config = voc(tmp_path, train=[CAT] * 5, val=[CAT])
    config.split_seed = 3
    assert lines(config)[4:] == ["- dataset.split_seed=3 has no effect: the data set has its own splits."]
    config.test_fraction = 0.2
    assert lines(config)[5:] == []


@pytest.mark.parametrize(
    ("folders", "says"),
    [
        (
            {"train": [CAT], "val": [CAT, DOG]},
            "- Not in train: nothing is learnt of them, and they count in mAP: dog (val: 1)",
        ),
        (
            {"train": [CAT], "val": [CAT], "test": [DOG, DOG]},
            "- Not in train: nothing is learnt of them, and they count in mAP: dog (test: 2)",
        ),
        (
            {"train": ["<name>dog</name><difficult>1</difficult>", CAT], "val": [CAT, DOG]},
            "- Not in train: nothing is learnt of them, and they count in mAP: dog (val: 1)",
        ),
        ({"train": [CAT, DOG], "val": [CAT]}, "- In train only, so that no mAP measures them: dog"),
        (
            {"train": [CAT, "<name>dog</name><difficult>1</difficult>"], "val": [CAT]},
            "- Without a box that trains, in any split: dog",
        ),
    ],
)
def test_classes_that_a_split_lacks_are_named(tmp_path, folders, says):
    assert says in lines(voc(tmp_path, **folders))


def test_of_many_classes_the_first_are_named_and_the_rest_counted(tmp_path):
    names = [f"<name>c{number:02d}</name>" for number in range(14)]
    (line,) = lines(voc(tmp_path, train=names, val=names[:1]))[4:]
    assert line.endswith(": c01, c02, c03, c04, c05, c06, c07, c08, c09, c10 and 3 more")


def test_what_is_not_used_is_counted_below_the_table_with_the_first_names(tmp_path):
    config = voc(tmp_path, train=[CAT], val=[CAT], more_train=[CAT] * 4)
    assert lines(config)[4:] == [
        "- Not used, pictures in other folders than those in use: 4 "
        "(more_train/3.png, more_train/4.png, more_train/5.png, …)"
    ]


def test_drawn_pictures_have_a_table_too():
    config = s.ShapesConfig(name="drawn", domain="target", num_train=4, num_val=2)
    rows = lines(config)[2:4]
    assert [row.split(" of 5 ")[1] for row in rows] == ["painted by code"] * 2
    assert [row[:8].strip() for row in rows] == ["train 4", "val 2 0"]


def test_the_record_holds_what_the_table_shows(tmp_path):
    found = described(voc(tmp_path, train=[CAT, HARD_CAT, ""], val=[CAT], more_train=[CAT]))
    assert found.num_negatives == {"train": 2, "val": 0}
    assert found.unused == {"other_folder": Unused(1, ("more_train/5.png",))}


def test_a_table_in_a_narrow_window_breaks_no_setting(tmp_path):
    config = voc(tmp_path, train=[CAT, HARD_CAT] * 5)
    config.train_split = "all"
    text = io.StringIO()
    Console(file=text, width=80).print(dataset_table(described(config)), soft_wrap=True)
    assert "dataset.split_seed=0 " in text.getvalue()
    assert max(map(len, text.getvalue().splitlines())) <= 80


# -- what is refused


@pytest.mark.parametrize(
    ("flags", "words"),
    [({"train_iscrowd": 1}, "5 crowd"), ({"train_difficult": 1}, "5 difficult"), ({"train_ignore": 1}, "5 difficult")],
)
def test_where_every_box_of_train_is_ignored_nothing_can_be_learnt(tmp_path, flags, words):
    with pytest.raises(UserError) as refused:
        check(coco(tmp_path, **flags))
    assert str(refused.value) == (
        "Data set mine: train (found: train) has no box to be learnt in its 5 pictures; what there is of boxes is "
        f"ignored ({words}): nothing can be learnt. Clear the flag (COCO: iscrowd, ignore; VOC: difficult) of the "
        "objects that count, or name another split with dataset.train_split=<name>."
    )


def test_where_no_picture_of_train_has_an_object_nothing_can_be_learnt(tmp_path):
    with pytest.raises(UserError, match=r"no box to be learnt in its 2 pictures: nothing can be learnt\. Label them"):
        check(voc(tmp_path, train=["", ""], val=[CAT]))


def test_a_fraction_that_leaves_no_box_is_named(tmp_path):
    config = voc(tmp_path, train=[CAT, *[""] * 19], val=[CAT])
    config.fraction, config.subset_seed = 0.05, 0
    assert described(config).num_boxes["train"] == {"cat": 0}
    with pytest.raises(UserError, match=r"Raise dataset\.fraction=0\.05, or choose .* dataset\.subset_seed"):
        check(config)


@pytest.mark.parametrize(
    ("folders", "says"),
    [
        ({"train": [CAT], "val": ["", ""]}, r"val \(found: val\) .* dataset\.train_split=all"),
        ({"train": [CAT], "val": [HARD_CAT]}, r"val .* \(1 difficult\): mAP cannot be computed\. Clear the flag"),
        ({"train": [CAT], "val": [CAT], "test": [""]}, r"test .* or measure none with dataset\.test_split=none\."),
        ({"train": [CAT, *[""] * 9]}, r"val \(drawn: .*dataset\.split_seed=…, or more .* dataset\.val_fraction=…"),
    ],
)
def test_a_split_on_which_map_cannot_be_computed_is_refused(tmp_path, folders, says):
    with pytest.raises(UserError, match=says):
        check(voc(tmp_path, **folders))


def test_what_is_advised_against_a_split_without_objects_works(tmp_path):
    config = voc(tmp_path, train=[CAT] * 9, val=["", ""], test=[""])
    config.train_split, config.test_split = "all", None
    check(config)


def test_a_named_json_without_truth_is_called_by_its_own_setting(tmp_path):
    config = coco(tmp_path, val_iscrowd=1)
    config.train_json, config.val_json = "train.json", "val.json"
    with pytest.raises(UserError, match=r"dataset\.val_json=<file>, or leave dataset\.val_json out\.$"):
        check(config)
    config.val_json = None
    check(config)


def test_a_class_that_is_watched_must_have_boxes_where_it_is_measured(tmp_path):
    config = voc(tmp_path, train=[CAT, DOG], val=[CAT])
    check(config, name="val/ap/cat")
    with pytest.raises(UserError, match=r"monitor\.name=val/ap/dog: mine has no box of the class dog in val.*: cat\."):
        check(config, name="val/ap/dog")


def test_sound_data_is_not_refused(tmp_path):
    check(voc(tmp_path, train=[CAT, HARD_CAT, ""], val=[CAT, ""], test=[CAT]))
