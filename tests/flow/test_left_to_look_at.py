"""What a run leaves for people to look at, and that nothing of it can fail the run."""

import io
import json
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from headstart import looking
from headstart.analysis.summary import scored_splits
from headstart.config.compose import compose
from headstart.data import catalog
from headstart.data.datamodule import DetectionDataModule
from headstart.data.info import describe
from headstart.looking import keep, leave
from headstart.records.pictures import kept_rows, pictures_folder, write_pictures
from headstart.records.record import RunRecord

from .conftest import SMALL


def record_of(folder: Path) -> RunRecord:
    return RunRecord.read(folder / "record.json")


def data_module(*more: str) -> DetectionDataModule:
    config = compose([*SMALL, *more])
    data = catalog.read(config.dataset, 0)
    return DetectionDataModule(data, describe(data, config.dataset), config.dataset, config.augment, 0)


def test_a_run_leaves_its_page_its_analysis_and_its_worst_pictures(full_run):
    record = record_of(full_run)
    page = (full_run / "report.html").read_text(encoding="utf-8")
    assert full_run.name in page
    found = json.loads((full_run / "analysis.json").read_text())["val"]
    assert found["fingerprint"] == record.dataset["fingerprints"]["val"]
    wrong = sum(count > 0 for count in found["pictures"]["wrong"])
    assert wrong > 0
    assert page.count("data:image/jpeg") == min(wrong, record.config["evaluation"]["worst_pictures"])


def test_a_kept_picture_is_the_one_that_the_truth_calls_by_its_name(full_run, tmp_path):
    data, (scored,) = data_module(), scored_splits(full_run, record_of(full_run)).values()
    keep(tmp_path / "run", data, "val", scored, 5)
    rows = kept_rows(tmp_path / "run", scored.truth.fingerprint)
    assert rows
    images = {image.name: image.read() for image in data.data.splits["val"]}
    for row in rows:
        path = pictures_folder(tmp_path / "run", scored.truth.fingerprint) / f"{row}.jpg"
        shown = np.asarray(PIL.Image.open(path), dtype=float)
        size = shown.shape[1::-1]
        gaps = {name: abs(np.asarray(image.resize(size), dtype=float) - shown).mean() for name, image in images.items()}
        assert min(gaps, key=gaps.__getitem__) == scored.truth.image_names[row]


def test_no_picture_is_kept_where_none_is_wanted_and_no_more_than_there_is_room_for(full_run, tmp_path, monkeypatch):
    data, (scored,) = data_module(), scored_splits(full_run, record_of(full_run)).values()
    keep(tmp_path / "none" / "run", data, "val", scored, 0)
    assert not (tmp_path / "none" / "truth").exists()
    written = io.BytesIO()
    PIL.Image.new("RGB", (64, 64)).save(written, "JPEG")
    content = written.getvalue()
    monkeypatch.setattr("headstart.records.pictures.MOST_BYTES", 2 * len(content))
    assert write_pictures(tmp_path / "run", "0123456789abcdef", [(row, content) for row in range(5)]) == 3
    assert kept_rows(tmp_path / "run", "0123456789abcdef") == {0, 1}


@pytest.mark.parametrize("broken", ["scored_splits", "keep", "write_report", "log_panels"])
def test_whatever_fails_of_it_is_said_and_ends_no_run(full_run, monkeypatch, capsys, broken):
    def fail(*_: object) -> None:
        raise RuntimeError("not today")

    monkeypatch.setattr(looking, broken, fail)
    leave(full_run, record_of(full_run), data_module(), 3, [])
    assert "RuntimeError: not today" in capsys.readouterr().out


def test_what_a_run_leaves_takes_less_than_a_second(full_run):
    data, record = data_module(), record_of(full_run)
    began = time.perf_counter()
    leave(full_run, record, data, 12, [])
    assert time.perf_counter() - began < 1
