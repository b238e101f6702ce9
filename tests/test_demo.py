"""The demo tells what it does, does each part once, and says what to do when a part fails."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from headstart import demo
from headstart.config.compose import compose
from headstart.config.resolve import resolved_dict
from headstart.config.schema import Architecture
from headstart.errors import UserError
from headstart.records.record import RunRecord
from headstart.runs.attempt import choices
from headstart.runs.identity import run_folder

MAPS = {
    ("imagenet", "full"): 0.5,
    ("scratch", "full"): 0.05,
    ("checkpoint", "full"): 0.4,
    ("checkpoint", "head_only"): 0.3,
    ("coco_ssd", "full"): 0.6,
    ("coco_ssd", "head_only"): 0.5,
}


class FakeTraining:
    """Writes the record that `headstart train` would write; the command number `fails` fails."""

    def __init__(self, fails: int | None = None) -> None:
        self.commands: list[list[str]] = []
        self.fails = fails

    def __call__(self, command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        if len(self.commands) == self.fails:
            return subprocess.CompletedProcess(command, 1)
        assert command[:4] == [sys.executable, "-m", "headstart", "train"]
        config = compose(command[4:])
        resolved = resolved_dict(config)
        folder = run_folder(config, resolved)
        folder.mkdir(parents=True)
        value = MAPS[config.source.name, config.strategy.name]
        RunRecord(
            status="finished",
            choices=choices(config),
            config=resolved,
            dataset={"evaluation_fingerprint": config.dataset.name},
            metrics={"val": {"map": value, "map_50": value}, "history": [{"epoch": 0, "val/map": value}]},
            cost={"cpu_seconds": 10.0, "trained_parameters": 5},
        ).write(folder / "record.json")
        return subprocess.CompletedProcess(command, 0)


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "coco_ssd_here", lambda: None)


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeTraining:
    fake = FakeTraining()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo.subprocess, "run", fake)
    monkeypatch.setattr(demo, "draw_detections", lambda *_: None)
    return fake


def test_the_source_is_trained_first_and_every_transfer_starts_from_it(
    training: FakeTraining, capsys: pytest.CaptureFixture[str]
) -> None:
    demo.demo()
    configs = [compose(command[4:]) for command in training.commands]
    assert [(config.dataset.name, config.source.name, config.strategy.name) for config in configs] == [
        ("shapes_source", "imagenet", "full"),
        ("shapes", "scratch", "full"),
        ("shapes", "checkpoint", "full"),
        ("shapes", "checkpoint", "head_only"),
    ]
    source: Any = run_folder(configs[0], resolved_dict(configs[0]))
    assert [config.source.path for config in configs[2:]] == [str(source)] * 2  # type: ignore[attr-defined]
    assert all(config.model.architecture is Architecture.retinanet for config in configs)
    printed = capsys.readouterr().out
    assert "0.050" in printed
    assert "0.400" in printed


def test_where_the_coco_detector_is_installed_it_is_the_source_and_none_is_trained(
    training: FakeTraining, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "coco_ssd_here", lambda: Path("frozen_inference_graph.pb"))
    demo.demo()
    configs = [compose(command[4:]) for command in training.commands]
    assert [(config.source.name, config.strategy.name) for config in configs] == [
        ("scratch", "full"),
        ("coco_ssd", "full"),
        ("coco_ssd", "head_only"),
    ]
    assert {(config.dataset.name, config.backbone.name) for config in configs} == {("shapes", "mobilenetv2_100")}
    printed = capsys.readouterr().out
    assert "1/3" in printed
    assert "0.600" in printed


def test_pictures_and_the_table_are_saved(training: FakeTraining) -> None:
    demo.demo()
    with PIL.Image.open("outputs/demo/summary.png") as image:
        assert image.width > 500
    assert "| checkpoint | full | 1 | 0.400 |" in Path("outputs/demo/summary.md").read_text()


def test_a_second_call_trains_nothing(training: FakeTraining) -> None:
    demo.demo()
    demo.demo()
    assert len(training.commands) == 4


def test_a_part_that_fails_ends_the_demo_and_the_next_call_goes_on_there(training: FakeTraining) -> None:
    training.fails = 3
    with pytest.raises(UserError, match=r"exit code 1.*started again"):
        demo.demo()
    assert len(training.commands) == 3
    demo.demo()
    assert training.commands[3] == training.commands[2]
    assert len(training.commands) == 5


def test_a_failure_is_told_without_a_traceback(
    training: FakeTraining, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    training.fails = 1
    monkeypatch.setattr(sys, "argv", ["demo", "trainer.max_epochs=1"])
    with pytest.raises(SystemExit) as stopped:
        demo.main()
    assert stopped.value.code == 1
    assert "headstart: The training above stopped" in capsys.readouterr().err
    assert training.commands[0][-1] == "trainer.max_epochs=1"


@pytest.mark.slow
def test_the_demo_runs_for_real_on_a_tiny_budget(tmp_path: Path) -> None:
    tiny = ["dataset.num_train=8", "dataset.num_val=4", "trainer.max_epochs=1", "dataset.num_workers=0"]
    command = [sys.executable, "-m", "headstart.demo", *tiny]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stdout + result.stderr
    with PIL.Image.open(tmp_path / "outputs" / "demo" / "detections.png") as image:
        assert image.width > 3 * 200
