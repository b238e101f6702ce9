"""Whatever happens to a run, its record says so; and nothing that was found is lost."""

from pathlib import Path

import pytest

from headstart.config import schema as s
from headstart.errors import UserError
from headstart.records.record import RunRecord
from headstart.runs.attempt import attempt, finished_record


def config() -> s.RunConfig:
    return s.RunConfig(
        dataset=s.ShapesConfig(name="shapes", domain="target", num_train=1, num_val=1, fraction=0.5),
        model=s.RetinaNetConfig(architecture=s.Architecture.retinanet),
        backbone=s.BackboneConfig("lite0", s.BackboneLibrary.timm, "tf_efficientnet_lite0"),
        source=s.ScratchConfig("scratch", s.SourceKind.scratch),
        strategy=s.StrategyConfig("full"),
        seed=7,
    )


def read(folder: Path) -> RunRecord:
    return RunRecord.read(folder / "record.json")


def test_while_it_runs_the_record_says_interrupted_and_at_the_end_finished(tmp_path):
    with attempt(tmp_path / "run", config(), {"seed": 7}) as record:
        assert read(tmp_path / "run").status == "interrupted"  # what a killed process leaves
        record.cost["wall_seconds"] = 3.0
    found = read(tmp_path / "run")
    assert (found.status, found.cost, found.error) == ("finished", {"wall_seconds": 3.0}, None)
    assert found.choices["seed"] == 7
    assert found.choices["fraction"] == 0.5


def test_an_error_is_recorded_and_raised_again(tmp_path):
    with pytest.raises(UserError, match="no such thing"), attempt(tmp_path, config(), {}):
        raise UserError("no such thing")
    found = read(tmp_path)
    assert found.status == "failed"
    assert found.error is not None
    assert (found.error["type"], found.error["message"]) == ("UserError", "no such thing")
    assert "test_attempt.py" in found.error["traceback"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(0), SystemExit(1)])
def test_being_stopped_is_no_failure_and_no_success(tmp_path, stop):
    """Lightning leaves with SystemExit: after Ctrl-C with code 1, after SIGTERM with code 0."""
    with pytest.raises(KeyboardInterrupt), attempt(tmp_path, config(), {}):
        raise stop
    assert read(tmp_path).status == "interrupted"


@pytest.mark.parametrize(
    "variables", [{"LOCAL_RANK": "1"}, {"RANK": "3"}, {"SLURM_PROCID": "1"}, {"LOCAL_RANK": "0", "NODE_RANK": "1"}]
)
def test_only_the_main_process_writes(tmp_path, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with attempt(tmp_path / "run", config(), {}):
        pass
    assert not (tmp_path / "run").exists()


def test_what_lightning_starts_inside_a_slurm_job_has_lightnings_rank(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with attempt(tmp_path / "run", config(), {}):
        pass
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_an_unfinished_run_is_to_be_done(tmp_path, status):
    RunRecord(status=status).write(tmp_path / "record.json")
    assert finished_record(tmp_path, rerun=False) is None
    assert finished_record(tmp_path, rerun=True) is None
    assert (tmp_path / "record.json").exists()  # its checkpoint is what the next attempt goes on from


def test_a_finished_run_is_told_and_set_aside_when_it_shall_be_done_again(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    RunRecord(status="finished", cost={"a": 1}).write(folder / "record.json")
    found = finished_record(folder, rerun=False)
    assert found is not None
    assert found.cost == {"a": 1}
    assert finished_record(folder, rerun=True) is None
    assert not folder.exists()
    (aside,) = (tmp_path / ".replaced").iterdir()
    assert read(aside).cost == {"a": 1}


def test_a_run_that_never_began_is_to_be_done(tmp_path):
    assert finished_record(tmp_path / "none", rerun=False) is None
