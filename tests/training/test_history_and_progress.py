"""The rows of history.csv, and the line an epoch that a log file gets."""

import csv
import sys

import pytest

from headstart.training.history import History
from headstart.training.progress import EpochBar, EpochLines, make_progress


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_row_an_epoch_with_losses_rates_and_map(make_module, make_trainer, batches, tmp_path):
    history = History(tmp_path)
    history.add_untrained({"map": 0.25, "ap/a": 0.5})
    module = make_module()
    make_trainer(callbacks=[history]).fit(module, batches(2), batches(1, first=5))
    rows = rows_of(tmp_path / "history.csv")
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert (rows[0]["val/map"], rows[0]["val/ap/a"], rows[0]["train/loss"]) == ("0.25", "0.5", "")
    assert {"train/loss", "train/box", "train/classification", "val/map", "val/ap/b", "lr/head"} <= rows[1].keys()
    parts = [float(rows[1][f"train/{name}"]) for name in ("box", "classification")]
    assert float(rows[1]["train/loss"]) == pytest.approx(sum(parts))
    assert "train/loss_step" not in rows[1]


def test_an_epoch_without_validation_repeats_no_old_number(make_module, make_trainer, batches, tmp_path):
    history = History(tmp_path)
    trainer = make_trainer(max_epochs=3, callbacks=[history], check_val_every_n_epoch=2)
    trainer.fit(make_module(), batches(1), batches(1))
    assert ["val/map" in row for row in history.rows] == [False, True, False]


def test_rows_of_before_an_interruption_are_kept(make_module, make_trainer, batches, tmp_path):
    first = History(tmp_path)
    first.add_untrained({"map": 0.25})
    second = History(tmp_path)
    second.load_state_dict(first.state_dict())
    make_trainer(max_epochs=1, callbacks=[second]).fit(make_module(), batches(1), batches(1))
    assert [row["epoch"] for row in rows_of(tmp_path / "history.csv")] == ["0", "1"]


def test_a_line_an_epoch_says_loss_map_speed_and_time(make_module, make_trainer, batches, capsys):
    make_trainer(callbacks=[EpochLines()]).fit(make_module(), batches(2), batches(1))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["epoch", "1/2"], ["epoch", "2/2"]]
    assert all("loss " in line and "mAP 0.000 (best 0.000)" in line and " img/s " in line for line in lines)


def test_a_bar_in_a_terminal_lines_elsewhere_nothing_when_not_wanted(monkeypatch):
    assert make_progress(False) is None
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert isinstance(make_progress(True), EpochBar)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert isinstance(make_progress(True), EpochLines)


def test_the_bar_shows_the_loss_and_the_current_map(make_module, make_trainer, batches):
    bar, module = EpochBar(), make_module()
    trainer = make_trainer(max_epochs=1)
    trainer.fit(module, batches(1), batches(1))
    assert set(bar.get_metrics(trainer, module)) == {"loss", "mAP"}
