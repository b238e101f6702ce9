"""The rows of history.csv, and the line an epoch that a log file gets."""

import csv
import math
import sys

import pytest
import torch
from lightning.pytorch.callbacks import Callback

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


def lines_of(capsys):
    return capsys.readouterr().out.splitlines()


class Judge(Callback):
    """Gives each validation its mAP."""

    def __init__(self, *values):
        self.values = iter(values)

    def on_validation_end(self, trainer, pl_module):
        trainer.callback_metrics["val/map"] = torch.tensor(next(self.values))


def test_a_line_an_epoch_says_loss_map_speed_and_time(make_module, make_trainer, batches, tmp_path, capsys):
    history = History(tmp_path)
    trainer = make_trainer(callbacks=[Judge(0.5, 0.25), history, EpochLines(history)])
    trainer.fit(make_module(), batches(2), batches(1))
    lines = lines_of(capsys)
    assert [line.split()[:2] for line in lines] == [["epoch", "1/2"], ["epoch", "2/2"]]
    assert all("loss " in line and " img/s " in line for line in lines)
    assert ["mAP 0.500 (best 0.500)" in lines[0], "mAP 0.250 (best 0.500)" in lines[1]] == [True, True]


def test_the_line_of_an_epoch_without_validation_says_no_map(make_module, make_trainer, batches, tmp_path, capsys):
    history = History(tmp_path)
    trainer = make_trainer(3, callbacks=[history, EpochLines(history)], check_val_every_n_epoch=2)
    trainer.fit(make_module(), batches(1), batches(1))
    assert ["mAP" in line for line in lines_of(capsys)] == [False, True, False]


def test_the_line_of_a_validation_without_objects_says_so(make_module, make_trainer, batches, tmp_path, capsys):
    history = History(tmp_path)
    trainer = make_trainer(3, callbacks=[Judge(math.nan, 0.25, math.nan), history, EpochLines(history)])
    trainer.fit(make_module(), batches(1), batches(1))
    shown = [line.split("mAP ")[1].split("  ")[0] for line in lines_of(capsys)]
    assert shown == ["- (no objects)", "0.250 (best 0.250)", "- (no objects) (best 0.250)"]


def test_the_best_is_that_of_the_whole_run_after_an_interruption_too(
    make_module, make_trainer, batches, tmp_path, capsys
):
    history = History(tmp_path)
    history.load_state_dict({"rows": [{"epoch": 0, "val/map": 0.9}, {"epoch": 1, "val/map": 0.75}]})
    trainer = make_trainer(1, callbacks=[Judge(0.5), history, EpochLines(history)])
    trainer.fit(make_module(), batches(1), batches(1))
    assert "mAP 0.500 (best 0.750)" in lines_of(capsys)[0]  # 0.9 is the untrained model's


@pytest.mark.parametrize(
    ("limits", "epochs"),
    [
        ({"max_epochs": None, "max_steps": 5}, ["1/3", "2/3", "3/3"]),
        ({"max_epochs": 9, "max_steps": 3}, ["1/2", "2/2"]),
        ({"max_epochs": 2, "accumulate_grad_batches": 2}, ["1/2", "2/2"]),
        ({"max_epochs": 2, "limit_train_batches": 1}, ["1/2", "2/2"]),
    ],
)
def test_the_line_counts_the_epochs_there_will_be(make_module, make_trainer, batches, tmp_path, capsys, limits, epochs):
    history = History(tmp_path)
    make_trainer(**limits, callbacks=[history, EpochLines(history)]).fit(make_module(), batches(2), batches(1))
    assert [line.split()[1] for line in lines_of(capsys)] == epochs


def test_a_bar_in_a_terminal_lines_elsewhere_nothing_when_not_wanted(monkeypatch):
    assert make_progress(False) is None
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert isinstance(make_progress(True), EpochBar)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert isinstance(make_progress(True), EpochLines)


def test_the_bar_shows_the_loss_and_the_last_map_with_its_epoch(make_module, make_trainer, batches, tmp_path):
    history, module, seen = History(tmp_path), make_module(), []
    bar = EpochBar(history)

    class Look(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.append(bar.get_metrics(trainer, pl_module))

    trainer = make_trainer(3, callbacks=[Judge(0.5), history, Look()], check_val_every_n_epoch=2)
    trainer.fit(module, batches(1), batches(1))
    assert [list(shown) for shown in seen] == [[], ["loss"], ["loss", "mAP"]]  # of the step before
    assert seen[2]["mAP"] == "0.500 (epoch 2)"
