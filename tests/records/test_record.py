"""A record says everything, survives its process, and is never half read."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headstart.errors import UserError
from headstart.records.record import RunRecord, read_all

KEYS_OF_THE_DESIGN = {
    "schema_version",
    "status",
    "choices",
    "config",
    "dataset",
    "load",
    "plan",
    "metrics",
    "cost",
    "lineage",
    "environment",
    "error",
}


def written(path: Path, **values: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    RunRecord(**values).write(path)  # type: ignore[arg-type]
    return path


def broken(path: Path, **changes: object) -> Path:
    """A record with keys changed; `...` takes a key away."""
    values = json.loads(written(path).read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not ...}))
    return path


def test_the_file_has_the_keys_that_other_programs_rely_on(tmp_path: Path) -> None:
    assert set(json.loads(written(tmp_path / "record.json").read_text())) == KEYS_OF_THE_DESIGN


def test_what_is_written_is_read(tmp_path: Path) -> None:
    record = RunRecord(
        status="failed",
        choices={"dataset": "shapes", "seed": 0, "shots": None, "fraction": 1.0},
        plan=[{"stage": "stem", "lr": None}],
        metrics={"val": {"map": 0.25, "per_class": {"étoile": 0.5}}, "history": [{"epoch": 0}]},
        lineage=["imagenet"],
        error={"type": "UserError", "message": "no"},
    )
    record.write(tmp_path / "record.json")
    assert RunRecord.read(tmp_path / "record.json") == record


def test_numbers_that_json_does_not_know_become_null_at_any_depth(tmp_path: Path) -> None:
    path = written(tmp_path / "record.json", metrics={"val": {"map": math.nan, "per_class": [1.0, math.inf]}})
    assert json.loads(path.read_text())["metrics"] == {"val": {"map": None, "per_class": [1.0, None]}}


def test_a_write_that_fails_leaves_the_old_record_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "record.json", status="finished")
    with pytest.raises(TypeError):
        RunRecord(config={"not json": object()}).write(path)
    assert RunRecord.read(path).status == "finished"
    assert os.listdir(tmp_path) == ["record.json"]


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"status": "finished"', '{"status": "finished"}', "\udcff"])
def test_a_file_that_is_no_record_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"record\.json"):
        RunRecord.read(path)


def test_a_record_of_a_newer_version_is_refused_naming_both_versions(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"record\.json.*schema_version=99.* 1 and 2\b"):
        RunRecord.read(broken(tmp_path / "record.json", schema_version=99))


def test_a_record_of_the_version_before_is_read_and_stays_one(tmp_path: Path) -> None:
    assert RunRecord.read(broken(tmp_path / "record.json", schema_version=1)).schema_version == 1


@pytest.mark.parametrize(
    ("changes", "key"), [({"cost": ...}, "cost"), ({"costs": {}}, "costs"), ({"status": "done"}, "status")]
)
def test_a_missing_unknown_or_wrong_key_is_named(tmp_path: Path, changes: dict[str, object], key: str) -> None:
    with pytest.raises(UserError, match=rf"\b{key}\b"):
        RunRecord.read(broken(tmp_path / "record.json", **changes))


def test_all_runs_below_a_folder_are_read_but_those_set_aside(tmp_path: Path) -> None:
    for name in ("b", "study/a", ".replaced/b-1"):
        written(tmp_path / name / "record.json", choices={"dataset": name})
    found = read_all(tmp_path)
    assert [(path.relative_to(tmp_path).as_posix(), record.choices["dataset"]) for path, record in found] == [
        ("b", "b"),
        ("study/a", "study/a"),
    ]


def test_records_are_read_without_torch() -> None:
    code = "import sys, headstart.records.record, headstart.records.environment; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_sources_are_no_cells_unless_asked_for_by_their_folder(tmp_path):
    for place in ("run", "sources/other"):
        (tmp_path / place).mkdir(parents=True)
        RunRecord("finished").write(tmp_path / place / "record.json")
    assert [folder.name for folder, _ in read_all(tmp_path)] == ["run"]
    assert [folder.name for folder, _ in read_all(tmp_path / "sources")] == ["other"]
