"""What reaches W&B and TensorBoard, read back; and that nothing ever asks for an account."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from headstart.config.compose import compose
from headstart.config.schema import LoggerConfig, TensorBoardConfig, WandbConfig, WandbMode
from headstart.errors import UserError
from headstart.training import loggers
from headstart.training.loggers import build_loggers, finish_loggers
from headstart.training.wandb_report import LogDetections
from headstart.wandb_client import connection, stage_beside

from ..wandb_tools import VARIABLES, inspected, inspected_records, run_of

RESOLVED = {
    "dataset": {"name": "shapes", "fraction": 0.5, "shots": None, "batch_size": 4},
    "model": {"architecture": "retinanet"},
    "backbone": {"name": "lite0"},
    "source": {"name": "imagenet"},
    "strategy": {"name": "full", "lr": {"adamw": 0.1}},
    "augment": {"name": "light"},
    "optimizer": {"name": "adamw", "lr": None},
    "scheduler": {"name": "warmup_cosine"},
    "trainer": {"max_epochs": 2},
    "seed": 3,
}


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    """As on a machine where nobody ever logged in."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


@pytest.mark.parametrize(
    ("mode", "variables", "expected"),
    [
        (WandbMode.auto, {}, "offline"),
        (WandbMode.auto, {"WANDB_API_KEY": "x" * 40}, "online"),
        (WandbMode.offline, {"WANDB_API_KEY": "x" * 40}, "offline"),
        (WandbMode.online, {}, "online"),
        (WandbMode.online, {"WANDB_MODE": "disabled"}, "disabled"),
    ],
)
def test_online_only_when_logged_in_or_asked_for(mode, variables, expected, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert connection(mode) == expected


def test_a_login_in_the_netrc_file_counts(tmp_path, monkeypatch):
    file = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(file))
    file.write_text("machine other.example login user password secret\n")
    assert connection(WandbMode.auto) == "offline"
    file.write_text(f"machine api.wandb.ai login user password {40 * 'a'}\n")
    assert connection(WandbMode.auto) == "online"


def train_with(config, run_dir, make_module, make_trainer, batches):
    """Two epochs of the tiny detector, then what a run does at its end."""
    found = build_loggers(config, run_dir, "run-1", RESOLVED)
    trainer = make_trainer(logger=found, callbacks=[LogDetections(2)], log_every_n_steps=1)
    trainer.fit(make_module(), batches(2), batches(2, first=5))
    return finish_loggers(found, {"best/val/map": 0.25, "cost/wall_seconds": 12.0})


@dataclass
class Recorded:
    """What W&B wrote, by its own reader."""

    lines: list[str]
    folder: Path
    summary: dict[str, Any]
    """`config` and `summary` as they are at the end, and `name`, `project`, `run_id`, `tags`."""
    records: list[dict[str, Any]]

    @property
    def media(self) -> Path:
        return self.folder / "files" / "media"


@pytest.fixture
def recorded(tmp_path, make_module, make_trainer, batches) -> Recorded:
    run_dir = tmp_path / "shapes-retinanet-seed3"
    config = LoggerConfig(wandb=WandbConfig(project="p", group="g", tags=["t"]))
    lines = train_with(config, run_dir, make_module, make_trainer, batches)
    (folder,) = (run_dir / "wandb").glob("offline-run-*")
    return Recorded(lines, folder, inspected(folder), inspected_records(folder))


def test_the_runs_own_words_reach_wandb(recorded):
    assert recorded.lines == [f"W&B, offline: wandb sync {recorded.folder}"]
    told = {"name": "shapes-retinanet-seed3", "run_id": "run-1", "project": "p", "tags": ["t"]}
    assert {key: recorded.summary[key] for key in told} == told
    run = run_of(recorded.folder)
    assert (run["run_group"], run["job_type"]) == ("g", "train")


@pytest.mark.parametrize(
    ("variables", "overrides", "group"),
    [
        ({}, [], None),
        ({"HEADSTART_STUDY": "study-1a2b3c4d"}, [], "study-1a2b3c4d"),
        ({"HEADSTART_STUDY": "study-1a2b3c4d", "WANDB_RUN_GROUP": "mine"}, [], "mine"),
        ({"HEADSTART_STUDY": "study-1a2b3c4d", "WANDB_RUN_GROUP": "mine"}, ["logger.wandb.group=g"], "g"),
    ],
)
def test_the_group_is_the_studys_unless_the_user_names_another(variables, overrides, group, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    config = compose(overrides).logger.wandb
    assert config is not None
    assert config.group == group


def test_the_configuration_is_there_and_the_choices_flat_beside_it(recorded):
    flat: dict[str, Any] = {"dataset": "shapes", "model": "retinanet", "backbone": "lite0", "source": "imagenet"}
    flat |= {"strategy": "full", "seed": 3, "fraction": 0.5, "shots": None, "batch_size": 4, "lr": 0.1, "epochs": 2}
    flat |= {"augment": "light", "optimizer": "adamw", "scheduler": "warmup_cosine"}
    assert recorded.summary["config"] == {"config": RESOLVED} | flat


def test_a_learning_rate_of_the_users_goes_before_the_presets():
    own = RESOLVED | {"optimizer": {"name": "adamw", "lr": 0.5}}
    assert (loggers._flat(RESOLVED)["lr"], loggers._flat(own)["lr"]) == (0.1, 0.5)


def test_metrics_of_every_epoch_and_their_maxima_and_the_end_are_there(recorded):
    history = [record["history"]["item"] for record in recorded.records if record["type"] == "history"]
    assert sum("val/map" in item for item in history) == 2
    assert sum("train/loss_step" in item for item in history) == 4
    summary = recorded.summary["summary"]
    assert summary["val/map"] == {"max": 0}
    assert (summary["best/val/map"], summary["cost/wall_seconds"]) == (0.25, 12)
    assert {summary[name]["_type"] for name in ("plan", "val/ap_per_class")} == {"table-file"}


def test_the_plan_is_a_table(recorded):
    (path,) = (recorded.media / "table").glob("plan*.json")
    table = json.loads(path.read_text())
    assert table["columns"][:3] == ["stage", "parameters", "training"]
    assert [row[0] for row in table["data"]] == ["stem", "stage1", "stage2", "neck", "head"]


def test_pictures_hold_both_kinds_of_boxes(recorded):
    assert list((recorded.media / "images" / "val").glob("detections*.png"))
    found = [json.loads(path.read_text()) for path in (recorded.media / "metadata" / "boxes2D" / "val").glob("*.json")]
    scored = {key for group in found for box in group["box_data"] for key in ("scores",) if key in box}
    assert any("scores" not in box for group in found for box in group["box_data"])
    assert scored == {"scores"}


def test_nothing_is_written_outside_the_runs_folder(recorded, tmp_path):
    assert {path.name for path in tmp_path.iterdir()} <= {"shapes-retinanet-seed3"}


def test_a_second_run_in_the_same_process_is_a_run_of_its_own(tmp_path, make_module, make_trainer, batches):
    config = LoggerConfig(wandb=WandbConfig())
    for name in ("one", "two"):
        train_with(config, tmp_path / name, make_module, make_trainer, batches)
    assert wandb.run is None
    assert [len(list((tmp_path / name / "wandb").glob("offline-run-*"))) for name in ("one", "two")] == [1, 1]


def test_each_run_of_a_process_stages_its_files_beside_itself(tmp_path, make_module, make_trainer, batches):
    for name in ("one", "two"):
        train_with(LoggerConfig(wandb=WandbConfig()), tmp_path / name, make_module, make_trainer, batches)
        assert list((tmp_path / name / "wandb" / "data" / "artifacts" / "staging").iterdir())


def test_a_folder_for_staging_that_the_user_named_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DATA_DIR", "/mine")
    stage_beside(tmp_path)
    assert os.environ["WANDB_DATA_DIR"] == "/mine"
    assert os.environ["WANDB_CACHE_DIR"] == str(tmp_path / "wandb" / "cache")


def test_disabled_wandb_changes_nothing_else(tmp_path, monkeypatch, make_module, make_trainer, batches):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    train_with(LoggerConfig(wandb=WandbConfig()), tmp_path / "run", make_module, make_trainer, batches)
    assert not list(tmp_path.rglob("offline-run-*"))


def test_tensorboard_gets_metrics_and_pictures(tmp_path, make_module, make_trainer, batches):
    config = LoggerConfig(tensorboard=TensorBoardConfig())
    lines = train_with(config, tmp_path / "run", make_module, make_trainer, batches)
    assert lines == [f"TensorBoard: tensorboard --logdir {tmp_path / 'run' / 'tensorboard'}"]
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert "val/map" in events.Tags()["scalars"]
    assert "val/detections/0" in events.Tags()["images"]


def test_tensorboard_that_is_not_installed_is_told_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'headstart\[tensorboard\]'"):
        build_loggers(LoggerConfig(tensorboard=TensorBoardConfig()), tmp_path, "run-1", RESOLVED)


def test_no_logger_is_fine(tmp_path):
    assert build_loggers(LoggerConfig(), tmp_path, "run-1", RESOLVED) == []
