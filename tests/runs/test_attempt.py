"""Whatever happens to a run, its record says so; and nothing that was found is lost."""

import dataclasses
from pathlib import Path

import pytest

from headstart.config import schema as s
from headstart.errors import UserError
from headstart.records.record import RunRecord
from headstart.runs.attempt import attempt


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


def test_what_a_checkpoint_of_which_the_run_goes_on_cannot_do_again_has_a_way_out(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(b"cut off")
    with pytest.raises(RuntimeError) as raised, attempt(tmp_path, config(), {}):
        raise RuntimeError("no zip archive")
    assert "rerun=true starts anew" in raised.value.__notes__[0]
    found = read(tmp_path)
    assert found.error is not None
    assert "rerun=true starts anew" in found.error["message"]
    with pytest.raises(RuntimeError) as first, attempt(tmp_path / "new", config(), {}):
        raise RuntimeError("no zip archive")
    assert not hasattr(first.value, "__notes__")


def test_a_run_that_goes_on_is_known_by_what_it_was_begun_with_until_that_is_compared(tmp_path):
    begun = RunRecord("interrupted", dataset={"name": "then"}, environment={"device": "cpu", "attempts": ["a"]})
    begun.write(tmp_path / "record.json")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    with pytest.raises(KeyboardInterrupt), attempt(tmp_path, config(), {}):
        raise KeyboardInterrupt  # before anything was read
    found = read(tmp_path)
    assert (found.dataset, found.environment["device"]) == ({"name": "then"}, "cpu")
    assert len(found.environment["attempts"]) == 2


def test_a_run_that_begins_anew_says_nothing_of_an_earlier_one_but_when_it_was(tmp_path):
    begun = RunRecord("failed", dataset={"name": "then"}, environment={"device": "cpu", "attempts": ["a"]})
    begun.write(tmp_path / "record.json")
    with attempt(tmp_path, config(), {}) as record:
        assert (record.dataset, record.environment.get("device")) == ({}, None)
    assert len(read(tmp_path).environment["attempts"]) == 2


@pytest.mark.parametrize(
    ("root", "output_dir", "says"),
    [("x", "/far/out", True), ("x", "../out", True), ("x", "outputs", False), ("/x", "/far/out", False)],
)
def test_the_folder_of_the_command_is_recorded_where_nothing_else_leads_to_the_data(
    tmp_path, monkeypatch, root, output_dir, says
):
    monkeypatch.chdir(tmp_path)
    settings = dataclasses.replace(config(), dataset=s.VocConfig(name="x", root=root), output_dir=output_dir)
    with attempt(tmp_path / "run", settings, {}):
        pass
    found = read(tmp_path / "run").environment
    assert found.get("directory") == (str(tmp_path) if says else None)
