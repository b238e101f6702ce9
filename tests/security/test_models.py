"""Weights, models, records and checkpoints of strangers: nothing in them runs, nothing that they claim is allocated."""

import json
import os
import shutil
import sqlite3
import struct
import time
import zipfile
from pathlib import Path

import optuna
import pytest
import torch
from safetensors.torch import save_file

from headstart.detectors.files import read_tensors
from headstart.errors import UserError
from headstart.inference.export import load_exported, read_exported
from headstart.records.record import RunRecord
from headstart.search.settings import Settings
from headstart.search.trials import open_study, storage_file
from headstart.training.checkpoints import epoch_of_checkpoint, mend


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["weights.pt", "last.ckpt"])
def test_a_pickle_does_not_run(tmp_path, zipped, name, capsys):
    trace = tmp_path / "ran"
    content = {"state_dict": {"a": torch.ones(2)}, "epoch": 1, "evil": Payload(trace)}
    torch.save(content, tmp_path / name, _use_new_zipfile_serialization=zipped)
    if name == "weights.pt":
        with pytest.raises(UserError, match="could run code"):
            read_tensors(tmp_path / name)
    else:
        shutil.copyfile(tmp_path / name, tmp_path / "attack")
        assert epoch_of_checkpoint(tmp_path / name) is None
        mend(tmp_path)  # as a run that goes on does: it falls back, and says so
        assert "last.ckpt cannot be read" in " ".join(capsys.readouterr().out.split())
        assert not (tmp_path / name).exists()
        shutil.move(tmp_path / "attack", tmp_path / name)
    assert not trace.exists()
    torch.load(tmp_path / name, weights_only=False)  # the attack is a real one
    assert trace.exists()


def safetensors(header: dict | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def claim(shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "content",
    [
        safetensors({}, length=2**60),
        safetensors({"a": claim([2**58], 0, 2**60)}),
        safetensors({"a": claim([2], 0, 8), "b": claim([2], 4, 12)}, b"\0" * 12),
        safetensors({"a": claim([2**32, 2**32], 0, 8)}, b"\0" * 8),
        safetensors(b"[" * 1_000_000),
        b"",
    ],
    ids=["header of 2^60 bytes", "tensor of 2^60 bytes", "overlap", "overflow", "deep", "empty"],
)
def test_what_a_safetensors_file_claims_is_not_allocated(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError):
        read_tensors(tmp_path / "model.safetensors")


def test_a_packed_checkpoint_is_not_unpacked(tmp_path):
    torch.save({"a": torch.zeros(5_000_000)}, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, zipfile.ZipFile(tmp_path / "bomb.pt", "w", 8) as bomb:
        for item in plain.infolist():
            bomb.writestr(item.filename, plain.read(item))
    assert (tmp_path / "bomb.pt").stat().st_size < 100_000
    assert read_tensors(tmp_path / "plain.pt")["a"].numel() == 5_000_000
    with pytest.raises(UserError, match="packed"):
        read_tensors(tmp_path / "bomb.pt")


def test_a_checkpoint_that_says_it_spans_disks_is_named(tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "a.pt")
    content = (tmp_path / "a.pt").read_bytes()
    disks = content.rindex(b"PK\6\7") + 16
    (tmp_path / "a.pt").write_bytes(content[:disks] + b"\2" + content[disks + 1 :])
    with pytest.raises(UserError, match=r"a\.pt is damaged"):
        read_tensors(tmp_path / "a.pt")


def test_a_number_said_to_be_repeated_is_not_written_out(tmp_path):
    torch.save({"a": torch.zeros(1).expand(10**12)}, tmp_path / "a.pt")
    with pytest.raises(UserError, match="larger than the file"):
        read_tensors(tmp_path / "a.pt")


@pytest.mark.parametrize("packed", [True, False])
def test_a_name_without_end_is_refused_before_torch_looks_through_it(tmp_path, packed):
    """torch 2.14 searches its own message about a name it does not know: 20 s for 100,000 characters."""
    content = b"\x80\x02c" + b"a" * 100_000 + b"\nb\n."
    if packed:
        with zipfile.ZipFile(tmp_path / "a.pt", "w") as file:
            file.writestr("a/data.pkl", content)
            file.writestr("a/version", "3\n")
    else:
        (tmp_path / "a.pt").write_bytes(content)
    started = time.process_time()
    with pytest.raises(UserError, match=r"a\.pt is damaged or no torch file: a name of more than 10,000 characters"):
        read_tensors(tmp_path / "a.pt")
    assert time.process_time() - started < 1


MODEL = {
    "schema_version": 1,
    "architecture": "retinanet",
    "model": {"architecture": "retinanet"},
    "backbone": {"name": "x", "library": "torchvision", "architecture": "resnet18", "neck_channels": 8},
    "class_names": ["a"],
    "preprocessing": {"mean": [0, 0, 0], "std": [1, 1, 1], "min_size": 32, "max_size": 64},
    "norm_eps": None,
    "lineage": [],
}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("backbone.neck_channels", 10**9),
        ("backbone.neck_channels", -1),
        ("backbone.architecture", "os.system"),
        ("backbone.architecture", "hf-hub:evil/model"),
        ("backbone._target_", "os.system"),
        ("model._target_", "os.system"),
        ("model.architecture", "${oc.env:HOME}"),
        ("architecture", "os.system"),
        ("architecture", ["retinanet"]),
        ("class_names", [str(n) for n in range(200_000)]),
        ("class_names", ["a"] * 90_000),
        ("class_names", 10**9),
        ("preprocessing.min_size", 10**9),
        ("preprocessing.max_size", "1" * 100),
        ("preprocessing.resize", "os.system" * 1000),
        ("preprocessing.mean", [0]),
        ("norm_eps", "os.system"),
        ("cosine_scale", float("inf")),
        ("thresholds", [0.5]),
        ("thresholds", {"a": 2}),
        ("thresholds", {"a": "os.system"}),
        ("canvases_hw", [[64, 10**9]]),
        ("canvases_hw", [[64, 64]] * 100_000),
        ("canvases_hw", 64),
    ],
)
def test_a_description_runs_nothing_and_allocates_nothing(tmp_path, key, value):
    description = json.loads(json.dumps(MODEL))
    group, _, name = key.rpartition(".")
    (description[group] if group else description)[name] = value
    (tmp_path / "model.json").write_text(json.dumps(description))
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError) as error:
        load_exported(tmp_path)
    assert len(str(error.value)) < 3000


@pytest.mark.parametrize("text", ["[" * 1_000_000, "[]", '{"schema_version": ' + "1" * 1_000_000 + "}", ""])
def test_a_description_or_record_that_is_none_is_named(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    (tmp_path / "record.json").write_text(text)
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"model\.json"):
        read_exported(tmp_path)
    with pytest.raises(UserError, match=r"record\.json"):
        RunRecord.read(tmp_path / "record.json")


def test_a_record_with_parts_of_other_kinds_is_none(tmp_path):
    RunRecord(status="finished").write(tmp_path / "record.json")
    good = json.loads((tmp_path / "record.json").read_text())
    for name in ("config", "metrics", "plan", "environment", "lineage", "error"):
        (tmp_path / "record.json").write_text(json.dumps(good | {name: "os.system"}))
        with pytest.raises(UserError, match=name):
            RunRecord.read(tmp_path / "record.json")


SQL = {
    "no database": None,
    "deep": f"update study_user_attributes set value_json='{'[' * 200_000}'",
    "no json": "update study_user_attributes set value_json='{'",
    "a function": 'update trial_params set distribution_json=\'{"name": "os.system", "attributes": {}}\'',
    "another value": 'update trial_params set distribution_json=\'{"name": "CategoricalDistribution", '
    '"attributes": {"choices": ["../../evil"]}}\', param_value=0',
    "no state": "update trials set state='EVIL'",
    "a newer version": "update alembic_version set version_num='x'",
}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    file, space = tmp_path_factory.mktemp("study") / "study.db", {"x": optuna.distributions.FloatDistribution(0, 1)}
    asked = {"space": {"x": json.loads(optuna.distributions.distribution_to_json(space["x"]))}}
    open_study(file, "s", asked, "max", optuna.pruners.NopPruner()).ask(space)
    return file, asked


@pytest.mark.parametrize("attack", SQL)
def test_the_database_of_a_search_may_be_a_strangers(tmp_path, database, attack):
    file, asked = tmp_path / "x.db", database[1]
    shutil.copyfile(database[0], file)
    open_study(file, "s", asked, "max", optuna.pruners.NopPruner())
    file.unlink()
    shutil.copyfile(database[0], file)
    if SQL[attack] is None:
        file.write_bytes(b"garbage" * 1000)
    else:
        with sqlite3.connect(file) as connection:
            assert connection.execute(SQL[attack]).rowcount
        connection.close()
    with pytest.raises(UserError, match=r"x\.db cannot be used"):
        open_study(file, "s", asked, "max", optuna.pruners.NopPruner())


STATEMENTS = {
    "a trigger": "create trigger evil after insert on trials begin update trials set state='EVIL'; end",
    "a view": "alter table trials rename to kept; create view trials as select * from kept",
    "a virtual table": "create virtual table evil using fts5(x)",
}


@pytest.mark.parametrize("attack", STATEMENTS)
def test_statements_in_the_database_of_a_search_are_seen_before_it_is_used(tmp_path, database, attack):
    file, asked = tmp_path / "x y#%?.db", database[1]
    shutil.copyfile(database[0], file)
    with sqlite3.connect(file) as connection:
        connection.executescript(STATEMENTS[attack])
    connection.close()
    before = file.read_bytes()
    with pytest.raises(UserError, match="which Optuna does not make: it was not used"):
        open_study(file, "another", asked, "max", optuna.pruners.NopPruner())
    assert file.read_bytes() == before


@pytest.mark.parametrize("storage", ["journal:///x.log", "redis://x", "pickle.db", "mysql+pymysql://u:p@x/y"])
def test_a_search_lives_in_no_storage_that_unpickles(storage):
    with pytest.raises(UserError, match="sqlite"):
        storage_file(Settings(storage=storage), "outputs", "x")
