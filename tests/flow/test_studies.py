"""Studies of real runs: they survive being killed, failing cells, and each other."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.records.record import SOURCES, RunRecord, read_all

PATIENCE_SECONDS = 400


@pytest.fixture
def study(command) -> Callable[..., list[str]]:
    """The command of a study of small runs, two at a time."""

    def words(*overrides: str) -> list[str]:
        small = command(*overrides, "study.jobs=2")
        return [*small[:4], "-m", *small[4:]]

    return words


def start(words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    with (folder / "terminal.txt").open("ab") as out:
        return subprocess.Popen(words, cwd=folder, stdout=out, stderr=subprocess.STDOUT, env=environment())


def environment() -> dict[str, str]:
    """Without what would hide how the study divides the threads."""
    return {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | {"COLUMNS": "200"}


def finish(words: list[str], folder: Path) -> int:
    return start(words, folder).wait(PATIENCE_SECONDS)


def records(folder: Path) -> dict[str, RunRecord]:
    """Of the cells, and of the sources that they start from."""
    found = [*read_all(folder / "outputs"), *read_all(folder / "outputs" / SOURCES)]
    return {path.name: record for path, record in found}


def finished(folder: Path) -> dict[str, int]:
    """Run -> when its record was written."""
    done = [name for name, record in records(folder).items() if record.status == "finished"]
    paths = {path.parent.name: path for path in (folder / "outputs").rglob("record.json")}
    return {name: paths[name].stat().st_mtime_ns for name in done}


SOURCE = ("source=pretrained", "source.dataset.num_train=24", "source.dataset.num_val=4", "source.trainer.max_epochs=3")


@pytest.mark.slow
def test_killed_at_five_random_moments_a_study_ends_as_if_undisturbed(tmp_path, study):
    words = study("strategy=full,head_only", "seed=0,1", *SOURCE)
    assert finish(words, tmp_path / "undisturbed") == 0
    moments = random.Random(0)
    killed = tmp_path / "killed"
    done: dict[str, int] = {}
    for _ in range(5):
        process = start(words, killed)
        time.sleep(moments.uniform(4, 16))
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = finished(killed)
        assert {name: now[name] for name in done} == done  # what was finished was not done again
        done = now
    assert len(done) < 5, "the study was over before it was killed: nothing was tried"
    assert finish(words, killed) == 0
    after = finished(killed)
    assert {name: after[name] for name in done} == done
    expected, found = records(tmp_path / "undisturbed"), records(killed)
    assert found.keys() == expected.keys()
    assert len(found) == 5  # four cells and one source
    for name, record in found.items():
        assert record.metrics == expected[name].metrics
        epochs = 4 if record.choices["dataset"] == "shapes_source" else 3
        assert [row["epoch"] for row in record.metrics["history"]] == list(range(epochs))
    assert all(len(record.environment["attempts"]) == 1 for record in expected.values())
    assert sum(len(record.environment["attempts"]) - 1 for record in found.values()) <= 5 * 2
    assert all(
        record.lineage == ["imagenet", "shapes_source", "shapes"]
        for record in found.values()
        if record.choices["dataset"] == "shapes"
    )


@pytest.mark.slow
def test_two_studies_at_once_share_the_cells_and_the_source(tmp_path, study):
    words = study("strategy=full,head_only", "seed=0,1", *SOURCE)
    two = [start(words, tmp_path / "shared") for _ in range(2)]
    assert [process.wait(PATIENCE_SECONDS) for process in two] == [0, 0]
    found = records(tmp_path / "shared")
    assert len(found) == 5
    assert [record.status for record in found.values()] == ["finished"] * 5
    assert [len(record.environment["attempts"]) for record in found.values()] == [1] * 5


@pytest.mark.slow
def test_a_cell_that_raises_one_of_broken_data_and_one_that_makes_no_sense_end_nothing_else(tmp_path, draw_squares):
    draw_squares(tmp_path / "squares")
    whole = (tmp_path / "squares" / "3.png").read_bytes()
    (tmp_path / "squares" / "3.png").write_bytes(whole[:60] + bytes(20) + whole[80:])  # begins and ends as it should
    for name, text in {
        "dataset/tiny.yaml": "defaults: [shapes]\nname: tiny\nnum_train: 8\nnum_val: 4\n",
        "dataset/broken.yaml": f"defaults: [voc_folder]\nname: broken\nroot: {tmp_path}/squares\n",
        "optimizer/raises.yaml": "name: raises\n_target_: torch.optim.SGD\nlr: 0.1\nweight_decay: 0\nmomentum: text\n",
    }.items():
        (tmp_path / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / name).write_text(text)
    size = ("dataset.min_size=96", "dataset.max_size=128", "trainer.max_epochs=1", "trainer.accelerator=cpu")
    words = [sys.executable, "-m", "headstart", "train", "-m", "--config-dir", str(tmp_path / "conf"), *size]
    words += ["logger=csv", "study.jobs=2", "dataset=broken,tiny", "source=scratch,imagenet", "strategy=head_only"]
    code = finish([*words, "optimizer=raises,adamw"], tmp_path / "study")
    assert code == 1
    said = (tmp_path / "study" / "terminal.txt").read_text()
    summary = said[said.rindex("study ──") :]
    found = [record.status for record in records(tmp_path / "study").values()]
    assert {status: found.count(status) for status in found} == {"finished": 1, "failed": 3, "not_applicable": 4}
    for number in ("1 finished", "4 not applicable", "3 failed", "3 of 8 cells failed"):
        assert number in summary
    lines = [line.strip() for line in summary.splitlines()]
    (broken,) = [line for line in lines if "3.png: the image cannot be read" in line and "dataset=" not in line][:1]
    assert lines[lines.index(broken) + 1].startswith(
        "dataset=broken source=imagenet optimizer=adamw (log: outputs/.logs/"
    )
    (raised,) = [line for line in lines if line.startswith("TypeError: ")]
    both = [line.partition(" (log: ")[0] for line in lines[lines.index(raised) + 1 :][:2]]
    assert both == ["dataset=broken source=imagenet optimizer=raises", "dataset=tiny source=imagenet optimizer=raises"]
    (senseless,) = [line for line in lines if line.startswith("source=scratch with strategy=head_only would freeze")]
    assert sorted(lines[lines.index(senseless) + 1 :][:4]) == [
        "dataset=broken source=scratch optimizer=adamw",
        "dataset=broken source=scratch optimizer=raises",
        "dataset=tiny source=scratch optimizer=adamw",
        "dataset=tiny source=scratch optimizer=raises",
    ]


@pytest.mark.slow
def test_two_processes_train_each_cell_while_workers_read_and_each_has_one_record(tmp_path, study):
    words = study("trainer=ddp_cpu", "dataset.num_workers=1", "dataset.cache=none", "seed=0,1")
    words = [word for word in words if not word.startswith("dataset.num_workers=0")]
    assert finish(words, tmp_path / "study") == 0, (tmp_path / "study" / "terminal.txt").read_text()
    found = records(tmp_path / "study")
    assert [record.status for record in found.values()] == ["finished"] * 2
    assert [len(record.environment["attempts"]) for record in found.values()] == [1] * 2
    assert [record.config["trainer"]["devices"] for record in found.values()] == [2, 2]
    logs = sorted((tmp_path / "study" / "outputs" / ".logs").iterdir())
    assert [log.read_text().count("Finished: ") for log in logs] == [1, 1]
    assert len(list((tmp_path / "study" / "outputs").iterdir())) == 6  # two runs, .logs, .locks, multirun.yaml, truth
