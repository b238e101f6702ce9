"""`headstart doctor` on the real sets against their SOURCE.md: every defect, with its count."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from headstart import cli

TREES = "dataset=voc_folder dataset.root={}/deepforest"
TREE_CSV = "dataset=csv_folder dataset.root={}/deepforest"
POLYGONS = "2019_BLAN_3_751000_4330000_image_crop_polygon.csv"
POINTS = "2019_BLAN_3_751000_4330000_image_crop_keypoints.csv"
CELLS_CSV = "dataset=csv_folder dataset.root={}/bccd dataset.train_file=test.csv"
REAL = ("bccd", "kangaroo", "fruit", "facemask_510", "rsod_110", "coco208", "voc2007_1000")
NAMED = [f"dataset={name}" for name in REAL]
SETS = [*NAMED, CELLS_CSV, TREES, "dataset=dota_folder dataset.root={}/dota_example"]


def diagnose(real_data: Path, tmp_path: Path, *words: str) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["headstart"])
        patch.setenv("HEADSTART_DATA", str(real_data))
        with pytest.raises(SystemExit) as stopped:
            cli.main(["doctor", *words, f"out={tmp_path}", "enable_progress_bar=false"])
    assert stopped.value.code in (0, 1)
    report = json.loads((tmp_path / "doctor.json").read_text())
    assert (stopped.value.code == 1) == (report["status"] != "ok")
    return report


def counts(report: dict[str, Any]) -> dict[str, int]:
    """But of what is harmless in every set: read-me's."""
    found = {finding["kind"]: finding["count"] for finding in report["findings"]}
    found.pop("unused_unknown_suffix", None)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        ("dataset=bccd", "errors", {"empty_box": 2}),
        ("dataset=kangaroo", "errors", {"unreadable_image": 1, "exif_invalid": 2, "equal_images": 1}),
        (
            "dataset=fruit",
            "ok",
            {
                "lying_suffix": 37,
                "zero_size": 37,
                "wrong_depth": 29,
                "transparent": 25,
                "palette": 4,
                "exif_invalid": 3,
            },
        ),
        ("dataset=facemask_510", "ok", {"tiny_box": 3}),
        ("dataset=rsod_110", "ok", {"clipped_box": 21, "equal_images_other_boxes": 4}),
        (
            "dataset=coco208",
            "ok",
            {"label_without_image": 2, "tiny_box": 3, "greyscale": 2, "unused_class": 5, "class_not_in_train": 4},
        ),
        ("dataset=dota_folder dataset.root={}/dota_example", "ok", {"label_without_image": 5, "enclosing_box": 600}),
        (TREES, "ok", {"same_name": 1, "label_without_image": 1}),
        (
            f"{TREE_CSV} dataset.train_file=testfile_multi.csv dataset.val_file=example.csv"
            " dataset.test_file=2018_SJER_3_252000_4107000_image_477_truth.csv",
            "ok",
            {"class_not_in_train": 2},
        ),
        (f"{TREE_CSV} dataset.train_file=blank_annotations.csv", "refused", {"negative_row": 1}),
        (f"{TREE_CSV} dataset.train_file={POLYGONS}", "refused", {"enclosing_box": 4, "scores": 1}),
        (f"{TREE_CSV} dataset.train_file={POINTS}", "refused", {"no_box": 4, "scores": 1}),
        (f"{CELLS_CSV}", "errors", {"empty_box": 2}),
        ("dataset=coco_folder dataset.root={}/openimages5_broken", "refused", {"refused": 1}),
        ("dataset=voc2007_1000", "ok", {}),
    ],
)
def test_every_defect_of_source_md_is_found(real_data, tmp_path, words, status, expected):
    report = diagnose(real_data, tmp_path, *words.format(real_data).split())
    assert report["status"] == status
    found = counts(report)
    assert {kind: found.get(kind, 0) for kind in expected} == expected
    assert "near_equal" not in found


def test_the_trees_of_deepforest_are_seen(real_data, tmp_path):
    """A picture of each stem twice, an xml without its picture, columns in the order xmin, xmax, and a class "0"."""
    report = diagnose(real_data, tmp_path, *TREES.format(real_data).split())
    places = {finding["kind"]: finding["places"][0] for finding in report["findings"]}
    assert places["same_name"]["image"] == "OSBS_029.png"
    assert places["label_without_image"]["where"] == "2019_YELL_2_528000_4978000_image_crop2.xml"
    files = "dataset.train_file=2018_SJER_3_252000_4107000_image_477_truth.csv dataset.val_file=example.csv"
    report = diagnose(real_data, tmp_path, *TREE_CSV.format(real_data).split(), *files.split())
    assert report["splits"]["train"]["boxes"]["0"] == 7
    assert not [finding for finding in report["findings"] if "box" in finding["kind"]]


def test_all_csv_files_of_deepforest_are_told_in_one_go_and_what_is_sure_can_be_used(real_data, tmp_path):
    """Ten files of five pictures: three have predictions, truth, points, outlines or nothing in files of their own."""
    words = TREE_CSV.format(real_data).split()
    report = diagnose(real_data, tmp_path, *words)
    expected = {"described_twice": 3, "enclosing_box": 4, "no_box": 4, "scores": 4, "negative_row": 1}
    found = counts(report)
    assert {kind: found.get(kind, 0) for kind in expected} == expected
    assert (report["status"], "refused" in found) == ("errors", False)
    twice = next(finding["places"] for finding in report["findings"] if finding["kind"] == "described_twice")
    assert {"where": "OSBS_029.tif in OSBS_029.csv and blank_annotations.csv", "image": "OSBS_029.tif"} in twice
    report = diagnose(real_data, tmp_path, *words, "dataset.on.described_twice=skip_image")
    boxes = [part["boxes"] for part in report["splits"].values()]
    assert sum(part["pictures"] for part in report["splits"].values()) == 3
    assert sum(part["Tree"] for part in boxes) == 61 + 79  # rows of testfile_deepforest.csv and example.csv


@pytest.mark.slow
@pytest.mark.parametrize("words", SETS)
def test_a_fixed_copy_has_no_finding_that_is_an_error(real_data, tmp_path, words):
    clean = tmp_path / "clean"
    before = diagnose(real_data, tmp_path, *words.format(real_data).split(), f"fix={clean}")
    after = diagnose(real_data, tmp_path, "dataset=coco_folder", f"dataset.root={clean}")
    assert after["status"] == "ok", after["findings"]
    assert {split: part["boxes"] for split, part in after["splits"].items()} == {
        split: part["boxes"] for split, part in before["splits"].items()
    }
