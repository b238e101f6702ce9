"""What W&B's server is sent: by a run synced afterwards, and by a comparison online. The server is on 127.0.0.1."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headstart.records.record import RunRecord

from ..fake_wandb_server import ENTITY, KEY, FakeWandb, SentRun
from ..reporting.study_records import make_record, write
from ..wandb_tools import VARIABLES, environment, headstart, inspected, run_of, wandb_command
from .conftest import Train

GROUP = "study-1a2b3c4d"
OF_THE_CLOCK = {"_runtime", "_timestamp", "_wandb"}
workspaces = pytest.mark.skipif(
    importlib.util.find_spec("wandb_workspaces") is None, reason="needs the extra headstart[workspaces]"
)


@pytest.fixture
def server() -> Iterator[FakeWandb]:
    with FakeWandb() as server:
        yield server


def online(server: FakeWandb, home: Path) -> dict[str, str]:
    return environment(home, WANDB_BASE_URL=server.url, WANDB_API_KEY=KEY)


def sync(server: FakeWandb, home: Path, folder: Path) -> None:
    wandb_command("sync", str(folder), cwd=home, env=online(server, home))


def ours(sent: dict[str, Any]) -> dict[str, Any]:
    """Without what W&B adds, and of files only what kind they are: names of artifacts are drawn anew."""
    return {key: _plain(value) for key, value in sent.items() if key not in OF_THE_CLOCK}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return value.get("_type", value)
    return "NaN" if value != value else value  # as W&B's own reader writes it


def logged(name: str, record: RunRecord, **settings: Any) -> tuple[str, RunRecord]:
    record.config["logger"] = {"wandb": {"project": None, "entity": None, "group": GROUP} | settings}
    return name, record


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """ImageNet and scratch with two seeds: gains of 0.2 and 0.3."""
    for seed, gain in enumerate((0.2, 0.3)):
        write(tmp_path / "study", *logged(*make_record(seed=seed, ap=0.3 + gain)))
        write(tmp_path / "study", *logged(*make_record(source="scratch", seed=seed, ap=0.3)))
    return tmp_path / "study"


@pytest.mark.slow
def test_a_run_of_a_study_is_synced_as_it_was_written(
    server: FakeWandb, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HEADSTART_STUDY", GROUP)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    words = ("logger=wandb", "logger.wandb.mode=offline", "source=scratch", "trainer.max_epochs=1")
    (folder,) = train(*words, "dataset.num_train=8").glob("wandb/offline-run-*")
    record = RunRecord.read(folder.parents[1] / "record.json")
    assert record.config["logger"]["wandb"]["group"] == GROUP
    written, run = inspected(folder), run_of(folder)
    assert (run["run_group"], run["job_type"], run["run_id"]) == (GROUP, "train", folder.parents[1].name)
    flat = {key: value for key, value in written["config"].items() if key != "config"}
    assert flat == {name: record.choices[name] for name in record.choices} | {
        "optimizer": "adamw",
        "scheduler": "warmup_cosine",
        "augment": "light",
        "batch_size": 4,
        "epochs": 1,
        "lr": record.config["strategy"]["lr"]["adamw"],
    }
    assert written["summary"]["best/val/map"] == pytest.approx(record.metrics["val"]["map"])
    numbers = {name: value for name, value in record.cost.items() if name not in ("parts", "source")}
    costs = {f"cost/{name}": pytest.approx(value) for name, value in numbers.items()}
    assert {key: value for key, value in written["summary"].items() if key.startswith("cost/")} == costs
    sync(server, tmp_path, folder)
    ((name, sent),) = server.runs.items()
    assert (name, sent.about["groupName"], sent.about["jobType"]) == (folder.parents[1].name, GROUP, "train")
    assert ours(sent.config) == written["config"]
    assert ours(sent.summary) == ours(written["summary"])
    assert sum("val/map" in row for row in sent.history) == 1


@pytest.mark.slow
def test_a_comparison_online_and_one_synced_later_are_the_same(server: FakeWandb, study: Path, tmp_path: Path) -> None:
    offline = headstart("compare", str(study), "wandb=true", f"report_dir={tmp_path / 'a'}", env=environment(tmp_path))
    assert offline.returncode == 0, offline.stderr
    (folder,) = (tmp_path / "a" / "wandb").glob("offline-run-*")
    assert not server.operations
    sync(server, tmp_path, folder)
    (later,) = server.runs.values()
    server.runs, files = {}, {name for name in server.files if name.startswith("media/")}
    server.files.clear()
    words = [str(study), "wandb=true", f"report_dir={tmp_path / 'b'}"]
    result = headstart("compare", *words, env=online(server, tmp_path))
    assert result.returncode == 0, result.stderr
    (now,) = server.runs.values()
    assert (now.project, now.state) == (later.project, later.state) == ("headstart", "finished")
    assert now.about == later.about == {"groupName": GROUP, "jobType": "compare", "displayName": f"compare-{GROUP}"}
    assert ours(now.config) == ours(later.config)
    assert ours(now.summary) == ours(later.summary)
    assert now.summary["best/val/map/blood"] == pytest.approx(0.55)
    assert now.summary["transfer_gain/val/map/blood"] == pytest.approx(0.25)
    sent = {name for name in server.files if name.startswith("media/")}
    assert {kind_of(name) for name in sent} == {kind_of(name) for name in files}
    assert {"media/table/comparison", "media/table/runs", "media/html/report"} <= {kind_of(name) for name in sent}


def kind_of(name: str) -> str:
    """`media/table/runs` of `media/table/runs_0_<digest>.table.json`."""
    return name.rsplit("_", 2)[0]


def test_online_each_finished_run_gets_its_gain_and_keeps_its_other_numbers(
    server: FakeWandb, study: Path, tmp_path: Path
) -> None:
    first, second, scratch = (
        f"blood-{name}" for name in ("imagenet-full-seed0", "imagenet-full-seed1", "scratch-full-seed0")
    )
    for name, state in ((first, "finished"), (second, "running"), (scratch, "finished")):
        server.runs[name] = SentRun("headstart", summary={"best/val/map": 0.5, "val/map": {"max": 0.5}}, state=state)
    result = headstart("compare", str(study), "wandb=true", env=online(server, tmp_path))
    assert result.returncode == 0, result.stderr
    before = {"best/val/map": 0.5, "val/map": {"max": 0.5}}
    assert server.runs[first].summary == before | {"transfer_gain/val/map": pytest.approx(0.2)}
    assert server.runs[second].summary == server.runs[scratch].summary == before
    assert "transfer gain written into the summary of 1 of 2 runs; 1 are not finished there" in result.stdout


def test_a_server_that_refuses_the_gains_costs_a_warning_and_no_more(
    server: FakeWandb, study: Path, tmp_path: Path
) -> None:
    server.runs["another"] = SentRun("headstart")
    server.refused.add("Runs")
    result = headstart("compare", str(study), "wandb=true", env=online(server, tmp_path))
    assert result.returncode == 0, result.stderr
    assert "Warning: W&B: transfer gain was not written into the runs (" in result.stdout
    assert "Runs is refused" in result.stdout
    assert [run for run in server.runs.values() if run.about.get("jobType") == "compare" and run.summary]


def test_a_server_that_refuses_the_run_is_one_message_and_the_report_is_there(
    server: FakeWandb, study: Path, tmp_path: Path
) -> None:
    server.refused.add("UpsertBucket")
    result = headstart("compare", str(study), "wandb=true", env=online(server, tmp_path))
    assert result.returncode == 1
    assert "wandb_run.mode=offline" in result.stderr
    assert "Traceback" not in result.stderr
    assert (study / "report.html").is_file()


@workspaces
def test_online_a_workspace_shows_the_studys_runs(server: FakeWandb, study: Path, tmp_path: Path) -> None:
    result = headstart("compare", str(study), "wandb=true", env=online(server, tmp_path))
    assert f"W&B workspace: {server.url}/{ENTITY}/headstart?nw=" in result.stdout
    (view,) = server.views
    assert (view["entityName"], view["projectName"]) == (ENTITY, "headstart")
    section = json.loads(view["spec"])["section"]
    filters = section["runSets"][0]["filters"]["filters"]
    assert {(one["key"]["name"], one["value"]) for one in filters} == {("jobType", "train"), ("group", GROUP)}
    (panels,) = [part["panels"] for part in section["panelBankConfig"]["sections"]]
    assert [panel["viewType"] for panel in panels] == [
        "Parallel Coordinates Plot",
        "Bar Chart",
        "Bar Chart",
        "Scatter Plot",
        "Parameter Importance",
        "Run Comparer",
    ]
    axes = [column["accessor"] for column in panels[0]["config"]["columns"]]
    assert {"config:dataset.value", "config:source.value", "config:strategy.value", "config:fraction.value"} < set(axes)
    assert axes[-1] == "summary:best/val/map"


@workspaces
def test_a_server_that_refuses_the_workspace_costs_a_warning_and_no_more(
    server: FakeWandb, study: Path, tmp_path: Path
) -> None:
    server.refused.add("UpsertView2")
    result = headstart("compare", str(study), "wandb=true", env=online(server, tmp_path))
    assert result.returncode == 0, result.stderr
    assert "Warning: W&B: no workspace was made" in result.stdout
    assert "UpsertView2 is refused" in result.stdout
