"""`headstart compare wandb=true` offline, read back with W&B's own reader."""

import csv
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headstart import compare
from headstart.config.schema import CompareConfig, WandbConfig
from headstart.records.record import RunRecord, read_all
from headstart.reporting import wandb_workspace
from headstart.reporting.comparison import Comparison, compare_runs
from headstart.reporting.rows import Question
from headstart.reporting.run_gains import run_gains
from headstart.reporting.wandb_comparison import _identity, summary

from ..wandb_tools import environment, headstart, inspected, inspected_records, media_table, run_of
from .study_records import make_record, write, write_study

GROUP = "study-1a2b3c4d"


def logged(record: RunRecord, **settings: Any) -> RunRecord:
    """As a run with logger=wandb leaves it."""
    record.config["logger"] = {"wandb": {"project": None, "entity": None, "group": GROUP} | settings}
    return record


def values(folder: Path) -> dict[str, float]:
    """Folder of a finished run -> its mAP."""
    return {path.name: record.metrics["val"]["map"] for path, record in read_all(folder) if record.status == "finished"}


@dataclass
class Logged:
    study: Path
    home: Path
    printed: str
    folder: Path
    """W&B's, of the comparison."""
    summary: dict[str, Any]
    config: dict[str, Any]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    """The study, compared once."""
    study, home = tmp_path_factory.mktemp("study"), tmp_path_factory.mktemp("home")
    write_study(study)
    for path, record in read_all(study):
        logged(record).write(path / "record.json")
    result = headstart("compare", str(study), "wandb=true", "wandb_run.tags=[t]", env=environment(home))
    assert result.returncode == 0, result.stderr
    (folder,) = (study / "wandb").glob("offline-run-*")
    found = inspected(folder)
    return Logged(study, home, result.stdout, folder, found["summary"], found["config"])


def test_the_comparison_is_a_run_of_the_studys_group(compared: Logged) -> None:
    run = run_of(compared.folder)
    assert (run["run_group"], run["job_type"], run["project"], run["tags"]) == (GROUP, "compare", "headstart", ["t"])
    assert run["display_name"] == f"compare-{GROUP}"
    assert compared.config == {
        "metric": "map",
        "split": "val",
        "cost": "cpu_seconds",
        "pooled_by": None,
        "baseline": None,
        "targets": ["blood", "fruit"],
        "runs": 66,
        "left_out": 3,
    }


def test_it_says_how_to_sync_and_what_is_left_out_offline(compared: Logged) -> None:
    assert f"W&B, offline: wandb sync {compared.folder}" in compared.printed
    assert "Left out offline: the transfer gain in the summary of each run, and the workspace." in compared.printed


@pytest.mark.parametrize(("name", "file"), [("comparison", "comparison"), ("classes", "comparison_classes")])
def test_its_tables_are_the_csv_files_numbers_as_numbers(compared: Logged, name: str, file: str) -> None:
    with (compared.study / f"{file}.csv").open() as text:
        expected = list(csv.DictReader(text))
    found = media_table(compared.folder, name)
    assert [list(row) for row in found] == [list(row) for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert {key: "" if word is None else str(word) for key, word in row.items()} == other
    assert all(isinstance(row["mean" if name == "comparison" else "ap"], float) for row in found)
    if name == "comparison":
        assert {type(row["pareto"]) for row in found} == {bool}


def test_each_run_has_its_gain_over_scratch_with_the_same_seed_and_labels(compared: Logged) -> None:
    maps = values(compared.study)
    rows = {row["run"]: row for row in media_table(compared.folder, "runs")}
    assert rows.keys() == maps.keys()
    for name, row in rows.items():
        assert row["val/map"] == maps[name]
        target, source, _, rest = name.split("-", 3)
        origin = f"{target}-scratch-full-{rest}"
        expected = None if source == "scratch" else maps[name] - maps[origin]
        assert row["transfer_gain/val/map"] == (None if expected is None else pytest.approx(expected))


def test_the_summary_has_the_best_map_and_gain_of_each_target(compared: Logged) -> None:
    maps = values(compared.study)
    for target in ("blood", "fruit"):
        means = {
            f"{source} {strategy}": sum(maps[f"{target}-{source}-{strategy}-seed{seed}"] for seed in range(3)) / 3
            for source in ("scratch", "imagenet", "noise")
            for strategy in ("full", "partial_freeze", "head_only")
            if source != "scratch" or strategy == "full"
        }
        best = max(means, key=lambda name: means[name])
        assert compared.summary[f"best/val/map/{target}"] == pytest.approx(means[best])
        assert compared.summary[f"best/arm/{target}"].startswith(best)
        gain = means[best] - means["scratch full"]
        assert compared.summary[f"transfer_gain/val/map/{target}"] == pytest.approx(gain)
        assert best.split()[0] in compared.summary[f"advice/{target}"]


def test_label_efficiency_has_a_line_per_arm_and_what_is_saved(compared: Logged) -> None:
    rows = media_table(compared.folder, "label_efficiency")
    assert {(row["target"], row["labelled_images"]) for row in rows} == {("blood", n) for n in (40, 120, 400)}
    assert {row["arm"] for row in rows} == {
        "scratch full",
        "imagenet full",
        "imagenet partial_freeze",
        "imagenet head_only",
    }
    saved = {row["arm"]: row["share_saved"] for row in media_table(compared.folder, "labels_saved")}
    assert saved["imagenet full"] == pytest.approx(0.9)


def test_the_source_by_target_table_has_the_best_strategy_of_each(compared: Logged) -> None:
    rows = media_table(compared.folder, "source_by_target")
    assert {(row["source"], row["target"]) for row in rows} == {
        (source, target) for source in ("scratch", "imagenet", "noise") for target in ("blood", "fruit")
    }
    assert {row["strategy"] for row in rows if row["source"] == "noise"} <= {"full", "partial_freeze"}


def charts(folder: Path) -> Iterator[tuple[str, str]]:
    """(name, preset) of every plot that the run defines."""
    for record in inspected_records(folder):
        for name, chart in record.get("config", {}).get("update", {}).items():
            if name.startswith("_wandb.visualize."):
                yield name.removeprefix("_wandb.visualize."), chart["panel_config"]["panelDefId"]


def test_every_target_has_its_plots_in_wandbs_own_form(compared: Logged) -> None:
    expected = {
        f"{target}/{name}": f"wandb/{preset}/v0"
        for target in ("blood", "fruit")
        for name, preset in (("arms", "bar"), ("transfer_gain", "bar"), ("cost", "scatter"))
    }
    assert dict(charts(compared.folder)) == expected | {"blood/label_efficiency": "wandb/line/v0"}
    points = media_table(compared.folder, "fruit/cost_table")
    assert {row["arm"] for row in points if row["front"]} == {
        "imagenet full",
        "imagenet partial_freeze",
        "imagenet head_only",
    }


def test_the_page_is_in_it_as_it_is(compared: Logged) -> None:
    (page,) = (compared.folder / "files" / "media" / "html").glob("report_*.html")
    assert page.read_bytes() == (compared.study / "report.html").read_bytes()


def test_nothing_is_staged_in_the_users_home(compared: Logged) -> None:
    assert not [path for path in compared.home.rglob("*") if path.is_file() and path.suffix == ".json"]
    assert list((compared.study / "wandb" / "data" / "artifacts" / "staging").iterdir())


def small(*records: tuple[str, RunRecord]) -> Comparison:
    return compare_runs([(Path("outputs") / name, record) for name, record in records], Question())


def pair(**settings: Any) -> list[tuple[str, RunRecord]]:
    """A run from ImageNet and one from scratch; `settings` are of the logger of the second."""
    (first, one), (second, two) = make_record(ap=0.5), make_record(source="scratch", ap=0.3)
    return [(first, logged(one)), (second, logged(two, **settings))]


def told(comparison: Comparison, config: WandbConfig) -> dict[str, Any]:
    return _identity(comparison, config, Path("somewhere/report.html"))


def test_group_project_and_entity_are_the_runs_own_unless_named() -> None:
    shared = told(small(*pair()), WandbConfig())
    assert (shared["group"], shared["project"], shared["entity"]) == (GROUP, "headstart", None)
    own = told(small(*pair()), WandbConfig(group="g", project="p", entity="e"))
    assert (own["group"], own["project"], own["entity"], own["name"]) == ("g", "p", "e", "compare-g")


def test_runs_of_two_groups_have_none_in_common() -> None:
    two = told(small(*pair(group="other")), WandbConfig())
    assert (two["group"], two["name"]) == (None, "compare-somewhere")


def test_runs_that_were_not_logged_leave_the_defaults() -> None:
    plain = told(small(make_record()), WandbConfig())
    assert (plain["group"], plain["project"]) == (None, "headstart")


def test_pooled_rows_leave_each_run_its_own_gain() -> None:
    runs = [make_record(strategy=name, seed=seed) for name in ("full", "head_only") for seed in (0, 1)]
    scratch = [make_record(source="scratch", seed=seed) for seed in (0, 1)]
    records = [(Path(name), record) for name, record in [*runs, *scratch]]
    (alone,), (pooled,) = (compare_runs(records, Question(group=group)).targets for group in ((), ("source",)))
    assert len(pooled.rows) < len(alone.rows)
    assert run_gains(pooled) == run_gains(alone)
    assert run_gains(alone).keys() == {Path(name) for name, _ in runs}


def test_a_target_without_scratch_has_no_gain() -> None:
    found = summary(small(make_record(ap=0.5)))
    assert found["best/val/map/blood"] == 0.5
    assert not [name for name in found if name.startswith("transfer_gain")]


def test_settings_of_a_run_that_is_not_asked_for_are_refused(tmp_path: Path) -> None:
    write(tmp_path, *make_record())
    result = headstart("compare", str(tmp_path), "wandb_run.project=p", env=environment(tmp_path))
    assert result.returncode == 1
    assert "add wandb=true" in result.stderr
    assert not (tmp_path / "report.html").exists()


def test_disabled_wandb_logs_nothing_and_says_so(tmp_path: Path) -> None:
    write(tmp_path, *make_record())
    result = headstart("compare", str(tmp_path), "wandb=true", env=environment(tmp_path, WANDB_MODE="disabled"))
    assert result.returncode == 0, result.stderr
    assert "nothing is logged, WANDB_MODE=disabled" in result.stdout
    assert not (tmp_path / "wandb").exists()


def test_without_the_extra_a_line_says_which_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_workspace.importlib.util, "find_spec", lambda name: None)
    line = wandb_workspace.make_workspace(small(make_record()), "e", "p", None)
    assert "pip install 'headstart[workspaces]'" in line


def test_brackets_in_what_wandb_tells_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, *make_record())
    monkeypatch.setattr(compare, "log_comparison", lambda *_: ["pip install 'headstart[workspaces]'"])
    compare.compare(CompareConfig(folder=str(tmp_path), wandb=True))
    assert "pip install 'headstart[workspaces]'" in capsys.readouterr().out


def test_logging_a_comparison_needs_no_torch(tmp_path: Path) -> None:
    write(tmp_path, *make_record())
    code = (
        "import sys; from headstart.compare import compare; from headstart.config.schema import CompareConfig\n"
        f"compare(CompareConfig(folder={str(tmp_path)!r}, wandb=True))\n"
        "print([name for name in ('torch', 'lightning') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment(tmp_path)
    )
    assert result.stdout.splitlines()[-1:] == ["[]"], result.stderr
