"""The data of an earlier run is found from any folder, or the message says how to name it."""

import os
from pathlib import Path

import pytest

from headstart.config import schema as s
from headstart.config.plain import plain
from headstart.data.recorded import recorded_dataset
from headstart.errors import UserError
from headstart.records.record import RunRecord


def trained(root: str, output_dir="outputs", data_dir="data", environment=None) -> RunRecord:
    config = {"dataset": plain(s.VocConfig(name="x", root=root)), "output_dir": output_dir, "data_dir": data_dir}
    return RunRecord("finished", config=config, environment=environment or {})


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """Data and a run in `w`, the command given from elsewhere."""
    for name in ("w/base", "w/data/birds", "w/outputs/run", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "w"


def found(record: RunRecord, folder: Path | str, **now) -> str:
    return os.path.abspath(recorded_dataset(record, Path(folder), **now).root)


@pytest.mark.parametrize("root", ["base", "./base", "data/birds"])
@pytest.mark.parametrize("relative", [False, True])
def test_a_relative_root_counts_from_where_the_outputs_lie(workspace, root, relative):
    folder = workspace / "outputs" / "run"
    where = os.path.relpath(folder) if relative else folder
    assert found(trained(root), where) == str((workspace / root).resolve())


def test_data_and_outputs_that_were_moved_together_are_found(workspace):
    moved = workspace.rename(workspace.parent / "moved")
    assert found(trained("base"), moved / "outputs" / "run") == str(moved / "base")


def test_outputs_in_another_place_leave_it_to_the_recorded_directory(workspace, tmp_path):
    record = trained("base", output_dir=str(tmp_path / "far"), environment={"directory": str(workspace)})
    assert found(record, tmp_path / "far" / "run") == str(workspace / "base")


def test_an_absolute_root_is_what_it_was(workspace):
    assert found(trained(str(workspace / "base")), workspace / "outputs" / "run") == str(workspace / "base")


def test_root_says_where_the_data_lies_now(workspace, tmp_path):
    (tmp_path / "now").mkdir()
    assert found(trained("base"), workspace / "outputs" / "run", root=str(tmp_path / "now")) == str(tmp_path / "now")


@pytest.mark.parametrize(("root", "data_dir"), [("data/birds", "data"), ("./data/birds", "data/"), ("/a/b/c", "/a/b")])
def test_data_dir_moves_what_lay_below_it(workspace, root, data_dir):
    record = trained(root, data_dir=data_dir)
    assert found(record, workspace / "outputs" / "run", data_dir="/new") == f"/new/{Path(root).name}"


@pytest.mark.parametrize("root", ["base", "database/birds", "/elsewhere/data/birds"])
def test_a_data_dir_without_effect_is_refused_with_the_setting_that_has_one(workspace, root):
    with pytest.raises(UserError, match=r"data_dir=/new has no effect.*not below its data_dir=data.*root=<folder>"):
        recorded_dataset(trained(root), workspace / "outputs" / "run", data_dir="/new")


def test_data_that_is_nowhere_is_refused_with_the_places_and_the_remedy(workspace):
    with pytest.raises(UserError, match=rf"dataset\.root=gone.*not found \({workspace}/gone.*root=<folder>"):
        recorded_dataset(trained("gone"), workspace / "outputs" / "run")
    with pytest.raises(UserError, match=r"dataset\.root=gone.*evaluation\.retention=false"):
        recorded_dataset(trained("gone"), workspace / "outputs" / "run", elsewhere="data")


def test_further_data_dir_is_a_place_to_look_at(workspace):
    record = trained("/old/birds", data_dir="/old")
    folder = workspace / "outputs" / "run"
    assert found(record, folder, elsewhere=str(workspace / "data")) == str(workspace / "data" / "birds")


def test_two_places_and_drawn_data_are_refused(workspace):
    with pytest.raises(UserError, match="give one"):
        recorded_dataset(trained("base"), workspace, root="a", data_dir="b")
    drawn = s.ShapesConfig(name="shapes", domain="target", num_train=1, num_val=1)
    record = RunRecord("finished", config={"dataset": plain(drawn), "data_dir": "data"})
    assert recorded_dataset(record, workspace) == drawn
    with pytest.raises(UserError, match="root=a has no effect"):
        recorded_dataset(record, workspace, root="a")
