"""What a finished run keeps, what its checkpoints share, and that its best epoch is measured once."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import headstart.run
from headstart.config.compose import compose
from headstart.errors import UserError
from headstart.records.record import RunRecord, record_files
from headstart.run import run
from headstart.runs import experiment as experiments
from headstart.runs.pretrained import is_finished
from headstart.training.frozen import read_checkpoint
from headstart.transfer.proof import tensors_digest

pytestmark = pytest.mark.usefixtures("tiny_network")

TINY = (
    "dataset.num_train=4",
    "dataset.num_val=4",
    "dataset.min_size=64",
    "dataset.max_size=96",
    "dataset.batch_size=2",
    "dataset.num_workers=0",
    "training.evaluate_untrained=false",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "logger=csv",
)
FREEZING = ("strategy=partial_freeze", "strategy.freeze_through=stage1")


class Killed(BaseException):
    pass


def killed(*_):
    raise Killed


def folder_in(tmp_path: Path) -> Path:
    (record,) = record_files(tmp_path / "outputs")
    return record.parent


@pytest.fixture
def train(tmp_path):
    """`train(*overrides)`: the run's folder and record."""

    def call(*overrides: str) -> tuple[Path, RunRecord]:
        record = run(compose([*TINY, f"output_dir={tmp_path / 'outputs'}", *overrides]))
        return folder_in(tmp_path), record

    return call


def fingerprint(images, num_classes, engine, max_detections):
    """In place of a mAP, which is 0 of so tiny a detector: a number that each bit of each score changes."""
    total = float(sum(image.scores.sum() for image in images.values()))
    assert total > 0
    names = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large", "mar")
    return {
        "scalars": dict.fromkeys(names, total),
        "per_class": [total] * num_classes,
        "per_class_50": [math.nan] * num_classes,
    }


@pytest.fixture
def evaluations(monkeypatch):
    """The splits that were evaluated beside the fit, and what each run's experiment was."""
    seen: dict[str, list] = {"splits": [], "experiments": []}
    monkeypatch.setattr("headstart.evaluation.scoring.evaluate", fingerprint)
    evaluate, prepare = experiments._evaluate, headstart.run.prepare

    def counting(experiment, folder, split):
        seen["splits"].append(split)
        return evaluate(experiment, folder, split)

    def remembering(*arguments, **options):
        seen["experiments"].append(prepare(*arguments, **options))
        return seen["experiments"][-1]

    monkeypatch.setattr(experiments, "_evaluate", counting)
    monkeypatch.setattr(headstart.run, "prepare", remembering)
    return seen


# --------------------------------------------------------------------------------- the best epoch's result


@pytest.mark.parametrize(
    ("overrides", "beside"),
    [
        ((), 0),
        (("training.ema_decay=0.5",), 0),
        (("strategy.norm=recalibrate", *FREEZING), 0),
        (("strategy=wise_ft",), 4),  # five mixtures, of which the last is the best epoch as it is
        (("strategy=lora", "strategy.adapters.rank=2"), 1),  # they are merged, which rounds
        (("monitor.name=train/loss", "monitor.mode=min", "trainer.check_val_every_n_epoch=2"), None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_the_record_has_to_the_bit_what_another_evaluation_of_the_final_weights_gives(
    train, evaluations, overrides, beside
):
    folder, record = train(*overrides)
    (experiment,) = evaluations["experiments"]
    assert beside is None or evaluations["splits"] == ["val"] * beside
    anew = experiments._evaluate(experiment, folder, "val").numbers()
    assert repr(record.metrics["val"]) == repr(anew)


def test_the_result_of_the_best_epoch_is_not_lost_with_the_process(train, evaluations, monkeypatch):
    """Killed after the fit, the run goes on; nothing is left to train, and nothing to measure."""
    with monkeypatch.context() as patch:
        patch.setattr("headstart.run.describe_end", killed)
        with pytest.raises(Killed):
            train()
    folder, record = train()
    assert evaluations["splits"] == []
    anew = experiments._evaluate(evaluations["experiments"][-1], folder, "val").numbers()
    assert repr(record.metrics["val"]) == repr(anew)


# --------------------------------------------------------------------------------- what stays


@pytest.mark.parametrize(
    ("what", "files"),
    [
        ("model", []),
        ("best", ["best.ckpt"]),
        ("all", ["best.ckpt", "cost.json", "frozen.safetensors", "last.ckpt"]),
    ],
)
def test_a_finished_run_keeps_the_checkpoints_that_it_was_told_to_and_is_skipped(train, capsys, what, files):
    folder, record = train(f"training.keep={what}", *FREEZING)
    assert sorted(path.name for path in folder.glob("checkpoints/*")) == files
    assert is_finished(folder)
    assert train(f"training.keep={what}", *FREEZING)[1].cost == record.cost
    assert "Already finished" in capsys.readouterr().out
    assert sorted(path.name for path in folder.glob("checkpoints/*")) == files
    if "best.ckpt" in files:
        assert {"detector.backbone.stem.conv.weight", "detector.head.cls.weight"} <= set(
            read_checkpoint(folder / "checkpoints" / "best.ckpt")["state_dict"]
        )
    if what == "best":  # it needs no other file
        assert "detector.backbone.stem.conv.weight" in torch.load(folder / "checkpoints" / "best.ckpt")["state_dict"]


def test_a_run_that_is_not_finished_keeps_all_and_one_killed_before_it_tidied_is_tidied_later(
    train, monkeypatch, tmp_path
):
    with monkeypatch.context() as patch:
        patch.setattr("headstart.run.keep", killed)
        with pytest.raises(Killed):
            train(*FREEZING)
    folder = folder_in(tmp_path)
    assert RunRecord.read(folder / "record.json").status == "finished"
    assert (folder / "checkpoints" / "last.ckpt").exists()
    train(*FREEZING)
    assert not (folder / "checkpoints").exists()


def test_what_was_asked_for_too_late_is_said(train, capsys):
    train()
    train("training.keep=best")
    assert "training.keep=best: it was finished without, and its checkpoints are gone" in capsys.readouterr().out


def test_a_run_of_before_the_setting_keeps_what_it_has(train):
    folder, record = train("training.keep=all")
    del record.config["training"]["keep"]
    record.write(folder / "record.json")
    train()
    assert (folder / "checkpoints" / "last.ckpt").exists()


# --------------------------------------------------------------------------------- what its checkpoints share


@pytest.fixture
def stopped(train, monkeypatch, tmp_path):
    """`stopped(*overrides)`: the checkpoints' folder of a run that was killed after its first epoch."""

    def call(*overrides: str) -> Path:
        with monkeypatch.context() as patch:
            patch.setattr("headstart.training.history.History.on_train_epoch_start", stop_in_the_second, raising=False)
            with pytest.raises(Killed):
                train(*overrides)
        return folder_in(tmp_path) / "checkpoints"

    return call


def stop_in_the_second(self, trainer, module):
    if trainer.current_epoch == 1:
        raise Killed


@pytest.mark.parametrize("average", [(), ("training.ema_decay=0.5",)])
def test_what_is_frozen_is_in_one_file_and_in_no_checkpoint_and_the_resumed_run_equals_the_undisturbed_one(
    train, stopped, tmp_path, average
):
    settings = (*FREEZING, "strategy.norm=recalibrate", "training.keep=all", *average)
    kept = stopped(*settings)
    frozen = load_file(kept / "frozen.safetensors")
    written = (kept / "frozen.safetensors").stat().st_mtime_ns
    content = torch.load(kept / "last.ckpt", weights_only=True)
    assert "detector.backbone.stem.conv.weight" in frozen
    for state in ("state_dict", "current_model_state"):
        assert not set(content.get(state, {})) & set(frozen)
    folder, record = train(*settings)
    assert (kept / "frozen.safetensors").stat().st_mtime_ns == written
    folder.parent.rename(tmp_path / "resumed")
    undisturbed, other = train(*settings)
    for name in ("best.ckpt", "last.ckpt"):
        then, now = (
            read_checkpoint(place / "checkpoints" / name) for place in (undisturbed, tmp_path / "resumed" / folder.name)
        )
        assert tensors_digest(then["state_dict"]) == tensors_digest(now["state_dict"])
    assert repr(record.metrics["val"]) == repr(other.metrics["val"])


def swap(path):
    tensors = load_file(path)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, path)


@pytest.mark.parametrize(
    ("harm", "says"),
    [(Path.unlink, "is not there"), (swap, "does not hold"), (lambda path: path.write_bytes(b"cut"), "does not hold")],
)
def test_a_frozen_file_that_is_lost_or_another_stops_the_run_with_the_remedy(train, stopped, harm, says):
    harm(stopped(*FREEZING) / "frozen.safetensors")
    with pytest.raises(UserError, match=rf"frozen\.safetensors {says}.*last\.ckpt.*rerun=true"):
        train(*FREEZING)


def test_a_run_whose_checkpoints_hold_everything_as_they_once_did_goes_on(train, stopped):
    kept = stopped(*FREEZING)
    for name in ("last.ckpt", "best.ckpt"):
        torch.save(read_checkpoint(kept / name), kept / name)
    (kept / "frozen.safetensors").unlink()
    assert train(*FREEZING)[1].status == "finished"


def test_a_checkpoint_that_needs_another_file_is_no_source(stopped, monkeypatch):
    from headstart.config.schema import CheckpointConfig, SourceKind
    from headstart.transfer.checkpoint import load_checkpoint

    path = stopped(*FREEZING) / "last.ckpt"
    source = CheckpointConfig("checkpoint", SourceKind.checkpoint, path=str(path))
    with pytest.raises(UserError, match=r"last\.ckpt holds only what its run trains.*training\.keep=best"):
        load_checkpoint(source, *[None] * 3)  # type: ignore[arg-type]
