"""The last epoch is always there to go on from, and the best is found again wherever the run lies."""

import contextlib
import math
import shutil

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from headstart.config.schema import MonitorConfig, PhaseConfig, TrainingConfig
from headstart.errors import UserError
from headstart.training.callbacks import checkpoints, optional_callbacks
from headstart.training.checkpoints import mend

NAN = math.nan


class Judge(Callback):
    """Gives each epoch's validation its mAP."""

    def __init__(self, values):
        self.values = values

    def on_validation_end(self, trainer, pl_module):
        trainer.callback_metrics["val/map"] = torch.tensor(self.values[trainer.current_epoch])


class Killed(Exception):
    pass


def killed(*_):
    raise Killed


class Kill(Callback):
    """In the midst of an epoch, counted from 1."""

    def __init__(self, epoch):
        self.epoch = epoch
        self.begun = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.begun.append(trainer.current_epoch + 1)
        if self.begun[-1] == self.epoch:
            raise Killed


@pytest.fixture
def fit(make_module, make_trainer, batches):
    """`fit(folder, values, kill=…)`: goes on where the folder has a checkpoint; gives callback, epochs begun."""

    def call(
        folder, values, kill=0, monitor="val/map", mode="max", patience=None, num_batches=1, strategy=None, **settings
    ):
        monitor = MonitorConfig(monitor, mode)
        kept, attempt = checkpoints(folder, monitor), Kill(kill)
        optional = optional_callbacks(TrainingConfig(early_stopping_patience=patience), monitor)
        last = folder / "last.ckpt"
        settings = {"max_epochs": len(values), "enable_checkpointing": True} | settings
        trainer = make_trainer(callbacks=[Judge(values), attempt, *optional, kept], **settings)
        ckpt_path = last if last.exists() else None
        with contextlib.suppress(Killed):
            trainer.fit(
                make_module(**strategy or {}), batches(num_batches), batches(1), ckpt_path=ckpt_path, weights_only=True
            )
        return kept, attempt.begun

    return call


def epoch_in(path):
    """By Lightning's own count in the file, of the epochs that are done."""
    return torch.load(path, weights_only=True)["epoch"] + 1


@pytest.mark.parametrize("values", [[0.0] * 5, [NAN] * 5, [0.5, 0.4, 0.3, 0.2, 0.1]])
def test_a_killed_run_goes_on_with_the_epoch_it_was_killed_in_whatever_the_monitor_does(fit, tmp_path, values):
    begun = [fit(tmp_path, values, kill)[1] for kill in (2, 4, 0)]
    assert begun == [[1, 2], [2, 3, 4], [4, 5]]
    assert epoch_in(tmp_path / "last.ckpt") == 5


def test_epochs_without_validation_are_not_lost(fit, tmp_path):
    assert fit(tmp_path, [0.5] * 5, kill=4, check_val_every_n_epoch=4)[1] == [1, 2, 3, 4]
    assert fit(tmp_path, [0.5] * 5, check_val_every_n_epoch=4)[1] == [4, 5]


@pytest.mark.parametrize(("patience", "epochs"), [(None, 4), (2, 3)])
def test_a_run_that_is_killed_after_its_end_does_not_train_again(fit, tmp_path, patience, epochs):
    """Nor where it ended early."""
    assert fit(tmp_path, [0.5, 0.5, 0.5, 0.5], patience=patience)[1] == [*range(1, epochs + 1)]
    assert fit(tmp_path, [0.5, 0.5, 0.5, 0.5], patience=patience)[1] == []


def test_the_patience_of_before_an_interruption_counts(fit, tmp_path):
    fit(tmp_path, [0.5] * 9, patience=4, kill=4)
    assert fit(tmp_path, [0.5] * 9, patience=4)[1] == [4, 5]


@pytest.mark.parametrize(
    ("values", "mode", "best"),
    [
        ([0.1, 0.3, 0.2], "max", 2),
        ([0.1, 0.3, 0.2], "min", 1),
        ([0.3, 0.3, 0.3], "max", 1),
        ([NAN, 0.2, NAN], "max", 2),
        ([NAN, 0.2, NAN], "min", 2),
    ],
)
def test_best_is_the_first_of_the_best_epochs(fit, tmp_path, values, mode, best):
    kept, _ = fit(tmp_path, values, mode=mode)
    assert kept.best_model_path == str(tmp_path / "best.ckpt")
    assert epoch_in(tmp_path / "best.ckpt") == best


def test_where_no_epoch_can_be_judged_the_last_is_kept_and_it_is_said(fit, tmp_path, capsys):
    kept, _ = fit(tmp_path, [NAN, NAN])
    assert kept.best_model_path == str(tmp_path / "last.ckpt")
    assert "No epoch has a val/map to be judged by: the weights of the last are kept" in capsys.readouterr().out


def test_a_value_of_an_earlier_epoch_judges_no_other(fit, tmp_path):
    """Of a monitor to be minimised that Lightning still shows two epochs later."""
    fit(tmp_path, [9.0, 0.5, 9.0, 0.5], mode="min", check_val_every_n_epoch=2)
    assert epoch_in(tmp_path / "best.ckpt") == 2


def test_an_epoch_that_max_steps_cuts_short_is_validated_and_judged(fit, tmp_path):
    kept, _ = fit(tmp_path, [0.1, 0.5], max_epochs=-1, max_steps=3, num_batches=2)
    assert (kept.best_epoch, kept.best_value) == (2, 0.5)


def test_early_stopping_waits_for_the_last_phase(fit, tmp_path):
    """It opens after three epochs, and counts from there."""
    phases = {"freeze_through": "neck", "phases": {"everything": PhaseConfig(start=3)}}
    assert fit(tmp_path, [0.5] * 9, patience=2, strategy=phases)[1] == [1, 2, 3, 4, 5, 6]


def test_training_losses_judge_every_epoch(fit, tmp_path):
    kept, _ = fit(tmp_path, [0.5] * 3, monitor="train/loss", mode="min", check_val_every_n_epoch=3)
    assert kept.best_epoch is not None


def test_a_monitor_that_nothing_measures_is_refused_with_what_there_is(fit, tmp_path):
    with pytest.raises(UserError, match=r"monitor\.name=val/mapp is not measured; there is .*val/map"):
        fit(tmp_path, [0.5], monitor="val/mapp")


def test_a_copied_run_keeps_its_best_epoch_and_never_looks_at_the_original(fit, tmp_path):
    values = [0.1, 0.5, 0.3, 0.4]
    fit(tmp_path / "run", values, kill=4)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    shutil.rmtree(tmp_path / "run")
    kept, begun = fit(tmp_path / "copy", values)
    assert begun == [4]
    assert kept.best_model_path == str(tmp_path / "copy" / "best.ckpt")
    assert epoch_in(kept.best_model_path) == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("found", ["nothing", "another epoch"])
def test_a_best_epoch_that_is_lost_stops_the_run_with_the_remedy(fit, tmp_path, found):
    fit(tmp_path, [0.1, 0.5, 0.3, 0.4], kill=4)
    (tmp_path / "best.ckpt").unlink()
    if found != "nothing":
        shutil.copy(tmp_path / "last.ckpt", tmp_path / "best.ckpt")
    with pytest.raises(UserError, match=r"best\.ckpt does not hold the best epoch, 2 \(val/map 0\.500\).*rerun=true"):
        fit(tmp_path, [0.1, 0.5, 0.3, 0.4])


def test_a_kill_between_the_last_and_the_best_file_loses_neither(fit, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfile", killed)
        fit(tmp_path, [0.1, 0.5, 0.3])
    assert [path.name for path in tmp_path.glob("*.ckpt")] == ["last.ckpt"]
    assert fit(tmp_path, [0.1, 0.0, 0.0])[1] == [2, 3]
    assert epoch_in(tmp_path / "best.ckpt") == 1


def test_a_checkpoint_is_whole_or_that_of_before(fit, tmp_path, monkeypatch):
    """Whatever the library does on its way to the file: here it dies half-way through it."""
    fit(tmp_path, [0.1, 0.5, 0.3], kill=2)

    def half(trainer, path, *arguments, **options):
        path.write_bytes(b"half")
        raise Killed

    monkeypatch.setattr("lightning.pytorch.Trainer.save_checkpoint", half)
    fit(tmp_path, [0.1, 0.5, 0.3])
    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == ["best.ckpt", "last.ckpt"]
    assert epoch_in(tmp_path / "last.ckpt") == 1


def test_a_trial_of_the_program_says_that_it_measured_nothing(fit, tmp_path, capsys):
    kept, _ = fit(tmp_path, [0.5], fast_dev_run=True)
    assert "its numbers mean nothing" in capsys.readouterr().out
    assert kept.best_model_path == ""


def test_checkpoints_hold_the_best_epochs_weights_and_plain_types(make_module, make_trainer, batches, tmp_path):
    states = []

    class Look(Judge):
        def on_validation_end(self, trainer, pl_module):
            super().on_validation_end(trainer, pl_module)
            states.append(pl_module.detector.head.cls.bias.detach().clone())

    kept = checkpoints(tmp_path / "c", MonitorConfig())
    trainer = make_trainer(max_epochs=3, callbacks=[Look([0.1, 0.3, 0.2]), kept], enable_checkpointing=True)
    trainer.fit(make_module(), batches(1), batches(1))
    assert sorted(path.name for path in (tmp_path / "c").glob("*.ckpt")) == ["best.ckpt", "last.ckpt"]
    content = torch.load(tmp_path / "c" / "best.ckpt", weights_only=True)
    assert torch.equal(content["state_dict"]["detector.head.cls.bias"], states[1])
    assert content["class_names"] == ["a", "b", "c"]


def cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def flip(path):
    """A byte in the midst of a tensor: torch itself would read it."""
    content = bytearray(path.read_bytes())
    content[content.find(b"PK\x07\x08") - 8] ^= 0xFF
    path.write_bytes(content)


def lose(key):
    def take(path):
        content = torch.load(path, weights_only=True)
        del content[key]
        torch.save(content, path)

    return take


BROKEN = {
    "cut off": cut,
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"no checkpoint" * 99),
    "a flipped byte": flip,
    "no optimizer": lose("optimizer_states"),
    "a bare tensor": lambda path: torch.save(torch.zeros(3), path),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_cannot_be_read_gives_way_to_the_best_epoch_or_to_a_new_start_and_stays(fit, tmp_path, capsys, how):
    fit(tmp_path, [0.1, 0.5, 0.3, 0.4], kill=4)
    mend(tmp_path)
    assert capsys.readouterr().out == ""
    BROKEN[how](tmp_path / "last.ckpt")
    broken = (tmp_path / "last.ckpt").read_bytes()
    mend(tmp_path)
    said = capsys.readouterr().out
    assert f"{tmp_path / 'last.ckpt'} cannot be read" in said
    assert f"goes on from {tmp_path / 'best.ckpt'}: what came after epoch 2 is trained again" in said
    assert (tmp_path / "last.unreadable-1.ckpt").read_bytes() == broken
    assert fit(tmp_path, [0.1, 0.5, 0.3, 0.4])[1] == [3, 4]
    for name in ("last.ckpt", "best.ckpt"):
        BROKEN[how](tmp_path / name)
    mend(tmp_path)
    assert "cannot be read either" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == [
        "best.unreadable-1.ckpt",
        "last.unreadable-1.ckpt",
        "last.unreadable-2.ckpt",
    ]


def test_a_best_checkpoint_that_cannot_be_read_is_one_that_is_lost(fit, tmp_path):
    fit(tmp_path, [0.1, 0.5, 0.3, 0.4], kill=4)
    cut(tmp_path / "best.ckpt")
    with pytest.raises(UserError, match=r"best\.ckpt does not hold the best epoch, 2"):
        fit(tmp_path, [0.1, 0.5, 0.3, 0.4])
