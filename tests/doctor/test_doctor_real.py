"""`headstart doctor` on the real sets against their SOURCE.md: every defect, with its count."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from headstart import cli


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
            {"lying_suffix": 37, "zero_size": 37, "transparent": 25, "palette": 4, "exif_invalid": 3},
        ),
        ("dataset=facemask_510", "ok", {"tiny_box": 3}),
        ("dataset=rsod_110", "ok", {"clipped_box": 21, "equal_images_other_boxes": 4}),
        (
            "dataset=coco208",
            "ok",
            {"label_without_image": 2, "tiny_box": 3, "greyscale": 2, "unused_class": 5, "class_not_in_train": 4},
        ),
        ("dataset=dota_folder dataset.root={}/dota_example", "ok", {"label_without_image": 5, "enclosing_box": 600}),
        ("dataset=voc_folder dataset.root={}/deepforest", "refused", {"refused": 1}),
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
