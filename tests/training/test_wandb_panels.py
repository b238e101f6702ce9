"""What W&B gets of a run's detections: its own panels, with the numbers of the run's report."""

from pathlib import Path
from typing import Any

import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger

from headstart.analysis.scored import score
from headstart.records.detections import SplitDetections
from headstart.records.pictures import write_pictures
from headstart.training.wandb_panels import log_panels
from tests.reporting.run_files import FINGERPRINT, detections, jpeg, truth


class Kept(WandbLogger):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.logged: dict[str, Any] = {}

    @property
    def experiment(self) -> Any:
        return self

    def log(self, values: dict[str, Any]) -> None:
        self.logged |= values


@pytest.fixture
def logged(tmp_path: Path) -> dict[str, Any]:
    known = truth()
    found: SplitDetections = detections(known, wrong_in=(1, 3))
    scored = score(known, found, 100)
    assert scored is not None
    write_pictures(tmp_path / "run", FINGERPRINT, [(1, jpeg(40)), (3, jpeg(80))])
    logger = Kept()
    log_panels([logger], tmp_path / "run", {"val": scored}, 12)
    return logger.logged


def test_the_panels_are_native_ones(logged: dict[str, Any]) -> None:
    assert set(logged) == {
        f"best/val/{name}" for name in ("precision_recall", "confusion", "errors", "calibration", "worst")
    }
    assert logged["best/val/precision_recall"].spec.spec_name == "wandb/area-under-curve/v0"
    assert logged["best/val/confusion"].spec.spec_name == "wandb/confusion_matrix/v1"
    assert all(isinstance(picture, wandb.Image) for picture in logged["best/val/worst"])


def test_the_matrix_counts_what_was_taken_for_what(logged: dict[str, Any]) -> None:
    counts = {(there, said): n for there, said, n in logged["best/val/confusion"].table.data}
    wrong = {pair: n for pair, n in counts.items() if n and pair[0] != pair[1]}
    assert sum(wrong.values()) >= 2
    assert all("background" in pair or set(pair) <= {"apple", "orange", "<b>banana</b>"} for pair in counts)


def test_the_pictures_have_truth_and_detections_as_boxes_in_shares_of_the_picture(logged: dict[str, Any]) -> None:
    boxes = logged["best/val/worst"][0]._boxes
    first = boxes["ground_truth"]._val[0]
    assert first["position"] == {"minX": 0.1, "minY": 0.1, "maxX": 0.4, "maxY": 0.4}
    assert len(boxes["ground_truth"]._val) == 2
    assert "scores" in boxes["predictions"]._val[0]


def test_the_errors_are_those_of_the_report(logged: dict[str, Any]) -> None:
    rows = {kind: count for kind, count, _ in logged["best/val/errors"].data}
    assert rows["Cls"] == 2
