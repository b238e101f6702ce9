"""A study runs its cells apart from each other and says at the end what became of each."""

import subprocess
import sys
from pathlib import Path

import pytest

from headstart import cli
from headstart.records.record import RunRecord, read_all
from headstart.study import launcher


class FakeRuns:
    """In place of the processes: exit codes by an override that the command holds."""

    def __init__(self, codes: dict[str, int]) -> None:
        self.codes = codes
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        code = next((code for word, code in self.codes.items() if word in command), 0)
        return subprocess.CompletedProcess(command, code)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def study(overrides: list[str], monkeypatch: pytest.MonkeyPatch, codes: dict[str, int] | None = None) -> FakeRuns:
    runs = FakeRuns(codes or {})
    monkeypatch.setattr(launcher.subprocess, "run", runs)
    monkeypatch.setattr(sys, "argv", ["headstart", "train", "-m", *overrides])
    cli.main(["train", "-m", *overrides])
    return runs


def test_each_combination_is_a_single_run_of_its_own(monkeypatch, tmp_path):
    runs = study(["strategy=full,head_only", "seed=0,1", "trainer.max_epochs=1"], monkeypatch)
    assert len(runs.commands) == 4
    assert runs.commands[0][1:4] == ["-m", "headstart", "train"]
    assert runs.commands[3][4:] == ["strategy=head_only", "seed=1", "trainer.max_epochs=1"]
    assert [path.name for path in tmp_path.rglob("*.*")] == ["multirun.yaml"]  # all that Hydra leaves of its own


def test_what_makes_no_sense_is_told_recorded_and_left_out_and_is_no_failure(monkeypatch, capsys, tmp_path):
    runs = study(["source=scratch,imagenet", "strategy=full,head_only"], monkeypatch)
    assert [command[4:] for command in runs.commands] == [
        ["source=scratch", "strategy=full"],
        ["source=imagenet", "strategy=full"],
        ["source=imagenet", "strategy=head_only"],
    ]
    out = capsys.readouterr().out
    assert "1 not applicable" in out
    assert "source=scratch strategy=head_only: source=scratch with strategy=head_only would freeze" in out
    ((folder, record),) = read_all(tmp_path)
    assert folder.name.startswith("shapes-retinanet-efficientnet_lite0-scratch-head_only-seed0-")
    assert record.status == "not_applicable"
    assert record.choices["source"] == "scratch"
    assert record.error is not None
    assert "would freeze" in record.error["message"]


def test_a_failed_cell_ends_neither_the_study_nor_is_forgotten(monkeypatch, capsys):
    with pytest.raises(SystemExit) as stopped:
        study(["seed=0,1,2"], monkeypatch, {"seed=1": 3})
    assert stopped.value.code == 1
    found = capsys.readouterr()
    assert "2 finished" in found.out
    assert "seed=1: exit code 3" in found.out
    assert "1 of 3 cells failed; the same command runs those again" in found.err


def test_the_summary_gives_the_reason_that_the_failed_cell_recorded(monkeypatch, capsys, tmp_path):
    failed = RunRecord(status="failed", error={"type": "UserError", "message": "no such image\nsecond line"})
    monkeypatch.setattr(launcher.RunRecord, "read", lambda path: failed)
    with pytest.raises(SystemExit):
        study(["seed=0,1"], monkeypatch, {"seed=1": 1})
    out = capsys.readouterr().out
    assert "seed=1: UserError: no such image" in out
    assert "second line" not in out


def test_a_misspelt_choice_in_the_last_cell_stops_before_the_first_one(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        study(["strategy=full,head_onyl"], monkeypatch)
    found = capsys.readouterr()
    assert "1/2" not in found.out
    assert "Did you mean 'head_only'?" in found.err


def test_the_users_folder_of_configuration_reaches_every_cell(monkeypatch, tmp_path):
    (tmp_path / "strategy").mkdir()
    (tmp_path / "strategy" / "mine.yaml").write_text("defaults: [schema_base, _self_]\nname: mine\nlr: {adamw: 0.1}\n")
    runs = study(["--config-dir", str(tmp_path), "strategy=mine,full"], monkeypatch)
    assert runs.commands[0][4:] == ["--config-dir", str(Path(tmp_path)), "strategy=mine"]
