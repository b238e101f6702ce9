"""Detections in the record are scored anew as by hand, and what the record cannot say is refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest

from headstart import cli
from headstart.config.schema import PostprocessConfig, RescoreConfig
from headstart.errors import UserError
from headstart.records.detections import SplitDetections, write_detections
from headstart.records.record import RunRecord
from headstart.records.truth import Truth, write_truth
from headstart.rescore import AFTER, rescore

FINGERPRINT, OTHER = "0123456789abcdef", "fedcba9876543210"
BOX, FAR = (10.0, 10.0, 50.0, 50.0), (60.0, 60.0, 90.0, 90.0)
NEAR = (10.0, 10.0, 50.0, 48.0)
"""IoU of 0.95 with `BOX`."""
Row = tuple[int, tuple[float, ...], float, int]


def run(
    folder: Path,
    found: list[Row],
    classes: tuple[str, ...] = ("rbc", "wbc"),
    fingerprint: str = FINGERPRINT,
    model: dict | None = None,
    postprocess: dict | None = None,
) -> Path:
    """Two pictures: an rbc at BOX in the first, a wbc at FAR in the second. `found`: picture, box, score, label."""
    config = {
        "model": {"architecture": "retinanet"} | (model or {}),
        "postprocess": postprocess or {},
        "evaluation": {},
    }
    dataset = {"name": folder.name, "fingerprints": {"val": fingerprint}, "class_names": list(classes)}
    folder.mkdir(parents=True)
    RunRecord("finished", config=config, dataset=dataset).write(folder / "record.json")
    none = np.zeros(2, dtype=bool)
    boxes = np.array([BOX, FAR])
    area = np.array([1600.0, 900.0])
    truth = Truth(
        fingerprint, classes, ("a", "b"), np.full((2, 2), 100), np.arange(2), boxes, np.arange(2), none, none, area
    )
    write_truth(folder, truth)
    images, boxes, scores, labels = (np.array(column) for column in zip(*sorted(found), strict=True))
    write_detections(folder, {"val": SplitDetections(images, boxes, scores, labels, np.arange(2))})
    return folder


def mixed_up(folder: Path) -> Path:
    """Each object is found twice: surely as the other class, and less surely as its own."""
    return run(folder, [(0, BOX, 0.9, 1), (0, NEAR, 0.6, 0), (1, FAR, 0.95, 0), (1, FAR, 0.5, 1)])


def test_merged_classes_are_found_where_the_parts_were_mixed_up(tmp_path):
    """Each class has one detection right below one wrong: a precision of 1/2 at every recall. Merged, the surer one is
    right, and the other is gone: all is right."""
    results = rescore(RescoreConfig(run=str(mixed_up(tmp_path / "r")), merge_classes={"rbc": "cell", "wbc": "cell"}))
    assert results["as it was"].map_50 == pytest.approx(0.5)
    assert results[AFTER].map == pytest.approx(1)
    assert results[AFTER].per_class == {"cell": pytest.approx(1)}


def test_class_agnostic_nms_drops_the_second_name_of_an_object(tmp_path):
    results = rescore(
        RescoreConfig(run=str(mixed_up(tmp_path / "r")), postprocess=PostprocessConfig(class_agnostic=True))
    )
    assert results[AFTER].map_50 == 0, "the surer names are the wrong ones"


def test_a_threshold_drops_what_lies_below(tmp_path):
    folder = run(tmp_path / "r", [(0, BOX, 0.9, 0), (1, FAR, 0.4, 1)])
    results = rescore(RescoreConfig(run=str(folder), postprocess=PostprocessConfig(score_threshold=0.5)))
    assert results["as it was"].per_class == {"rbc": pytest.approx(1), "wbc": pytest.approx(1)}
    assert results[AFTER].per_class == {"rbc": pytest.approx(1), "wbc": 0}


def test_an_ensemble_is_the_mean_of_what_its_runs_have_found(tmp_path):
    """Boxes off by 8 pixels to either side have IoUs of 2/3 with the object: wrong at 0.75 and right in the middle."""
    left, right = ((10.0 + d, 10.0, 50.0 + d, 50.0) for d in (-8.0, 8.0))
    folders = [run(tmp_path / name, [(0, box, 0.9, 0), (1, FAR, 0.9, 1)]) for name, box in (("a", left), ("b", right))]
    config = RescoreConfig(run=",".join(map(str, folders)), postprocess=PostprocessConfig(iou_threshold=0.4))
    results = rescore(config)
    assert [results[name].per_class["rbc"] < 0.5 for name in ("run 1", "run 2")] == [True, True]
    assert results[AFTER].per_class == {"rbc": pytest.approx(1), "wbc": pytest.approx(1)}


def test_the_file_has_the_numbers_before_and_after(tmp_path, capsys):
    out = tmp_path / "deep" / "rescored.json"
    rescore(RescoreConfig(run=str(mixed_up(tmp_path / "r")), merge_classes={"wbc": "rbc"}, out=str(out)))
    written = json.loads(out.read_text())
    assert written["results"][AFTER]["map"] == pytest.approx(1)
    assert written["results"]["as it was"]["map_50"] == pytest.approx(0.5)
    assert written["merge_classes"] == {"wbc": "rbc"}
    shown = capsys.readouterr().out
    assert "wbc as rbc" in shown
    assert str(out) in shown


REFUSED = {
    "score_threshold=0.01": "has kept no detection below 0.05",
    "iou_threshold=0.7": "a higher IoU than 0.5",
    "max_detections=200": "no more than 100 of a picture",
    "flips=[horizontal]": "needs the model",
    "across=none": "once for every view",
    "iou_threshold=1.5": "must be 0 to 1",
    "scales=[1]": "the picture as it is",
}


@pytest.mark.parametrize("word", REFUSED)
def test_what_the_record_cannot_say_is_refused_before_torch_or_by_name(word, tmp_path, capsys):
    folder = mixed_up(tmp_path / "r")
    with pytest.raises(SystemExit) as stop:
        cli.main(["rescore", f"run={folder}", f"postprocess.{word}"])
    assert stop.value.code == 1
    assert REFUSED[word] in capsys.readouterr().err


def test_runs_of_other_classes_or_pictures_are_no_ensemble(tmp_path):
    first = mixed_up(tmp_path / "first")
    named = run(tmp_path / "named", [(0, BOX, 0.9, 0)], ("rbc", "platelet"), OTHER)
    with pytest.raises(UserError, match=r"wbc only of the first and platelet only of the second"):
        rescore(RescoreConfig(run=f"{first},{named}"))
    placed = run(tmp_path / "placed", [(0, BOX, 0.9, 0)], fingerprint=OTHER)
    with pytest.raises(UserError, match=r"val pictures or annotations are not the same \(data sets first and placed\)"):
        rescore(RescoreConfig(run=f"{first},{placed}"))
    strict = run(tmp_path / "strict", [(0, BOX, 0.9, 0)], model={"nms_threshold": 0.3})
    with pytest.raises(UserError, match=r"postprocess.iou_threshold=0.5 and 0.3\. Give one"):
        rescore(RescoreConfig(run=f"{first},{strict}"))


def test_what_soft_nms_has_lowered_once_is_not_lowered_again(tmp_path):
    """Two objects' detections in one picture that overlap; of a run whose own method is soft_nms."""
    found = [(0, BOX, 0.9, 0), (0, NEAR, 0.5, 0), (1, FAR, 0.8, 1)]
    folder = run(tmp_path / "r", found, postprocess={"method": "soft_nms"})
    results = rescore(
        RescoreConfig(run=str(folder), merge_classes={"rbc": "cell", "wbc": "cell"}, out=str(tmp_path / "o"))
    )
    assert json.loads((tmp_path / "o").read_text())["postprocess"]["method"] == "none"
    assert len(results[AFTER].detections.scores) == 3


def test_a_file_of_other_pictures_is_named(tmp_path):
    folder = mixed_up(tmp_path / "r")
    write_detections(
        folder, {"val": SplitDetections(np.array([7]), np.array([BOX]), np.array([0.5]), np.array([0]), np.arange(8))}
    )
    with pytest.raises(UserError, match=r"detections\.npz is not of the pictures in truth/0123"):
        rescore(RescoreConfig(run=str(folder), merge_classes={"rbc": "wbc"}))


@pytest.mark.parametrize(
    ("word", "message"),
    [("run=x", "there is no record.json"), ("merge_classes={cat: dog}", "the classes are rbc, wbc")],
)
def test_other_mistakes_are_named(word, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["rescore", f"run={mixed_up(tmp_path / 'r')}", word])
    assert message in capsys.readouterr().err
