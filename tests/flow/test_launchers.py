"""Real studies under other launchers find what Headstart's own finds."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.records.record import RunRecord, read_all

pytestmark = pytest.mark.slow

FAKE_SLURM = Path(__file__).with_name("fake_slurm.py")
PATIENCE_SECONDS = 900

EXTRAS = {"submitit_local": ("submitit", "slurm"), "submitit_slurm": ("submitit", "slurm"), "ray": ("ray", "ray")}
SETTINGS = {
    "headstart": [],
    "submitit_local": ["hydra.launcher.gpus_per_node=0"],
    "submitit_slurm": ["hydra.launcher.partition=gpu", "hydra.launcher.cpus_per_task=4"],
    "ray": ["+hydra.launcher.ray.init.num_cpus=2"],
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SLURM's commands on the PATH; gives the folder of its jobs."""
    (tmp_path / "bin").mkdir()
    for name in ("sbatch", "srun", "sacct", "scontrol"):
        path = tmp_path / "bin" / name
        path.write_text(f"#!{sys.executable}\n{FAKE_SLURM.read_text()}")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path / "slurm"))
    return tmp_path / "slurm"


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of configuration: two strategies, a cell that raises and one that makes no sense."""
    files = {
        "experiment/full.yaml": "# @package _global_\ndefaults: [override /strategy: full]\n",
        "experiment/head.yaml": "# @package _global_\ndefaults: [override /strategy: head_only]\n",
        "experiment/raises.yaml": "# @package _global_\ndefaults: [override /optimizer: raises]\n",
        "experiment/senseless.yaml": (
            "# @package _global_\ndefaults: [override /source: scratch, override /strategy: head_only]\n"
        ),
        "optimizer/raises.yaml": "name: raises\n_target_: torch.optim.SGD\nlr: 0.1\nweight_decay: 0\nmomentum: text\n",
    }
    folder = tmp_path_factory.mktemp("conf")
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


CELLS = ("experiment=full,head,raises,senseless", "seed=0,1", "trainer.max_epochs=1", "study.jobs=2")


@pytest.fixture(scope="module")
def expected(tmp_path_factory, command, execute, experiments) -> dict[str, RunRecord]:
    """What the default launcher leaves of `CELLS`."""
    words = words_of(command, "headstart", *CELLS, conf=experiments)
    return study(words, tmp_path_factory.mktemp("own"), execute)[2]


def words_of(command: Callable[..., list[str]], launcher: str, *overrides: str, conf: Path | None = None) -> list[str]:
    if launcher in EXTRAS and importlib.util.find_spec(EXTRAS[launcher][0]) is None:
        pytest.skip(f"{launcher} is not installed: pip install 'headstart[{EXTRAS[launcher][1]}]'")
    small = command(*overrides, f"hydra/launcher={launcher}", *SETTINGS[launcher])
    return [*small[:4], "-m", *(["--config-dir", str(conf)] if conf else []), *small[4:]]


def study(words: list[str], folder: Path, execute: Any) -> tuple[int, str, dict[str, RunRecord]]:
    """Exit code, output, and run -> record."""
    folder.mkdir(exist_ok=True)
    result = execute(words, folder, timeout=PATIENCE_SECONDS)
    return result.returncode, result.stdout + result.stderr, records(folder)


def records(folder: Path) -> dict[str, RunRecord]:
    return {path.name: record for path, record in read_all(folder / "outputs")}


@pytest.mark.parametrize("launcher", EXTRAS)
def test_a_study_leaves_the_records_that_the_default_launcher_leaves(
    launcher, tmp_path, command, execute, experiments, expected, slurm
):
    words = words_of(command, launcher, *CELLS, conf=experiments)
    code, said, found = study(words, tmp_path / launcher, execute)
    assert code == 1, said
    summary = said[said.rindex("study ──") :]
    for text in (
        "4 finished",
        "2 not applicable",
        "2 failed",
        "2 of 8 cells failed",
        "TypeError",
        "    experiment=raises seed=1 (log: outputs/.logs/",
    ):
        assert text in summary
    assert "Traceback" not in said
    assert found.keys() == expected.keys()
    for name, record in found.items():
        assert record.status == expected[name].status
        assert record.metrics == expected[name].metrics
    values = [record.metrics["val"]["map"] for record in found.values() if record.status == "finished"]
    assert max(values) > 0
    shown = {path.name for path in (tmp_path / launcher / "outputs").iterdir() if not path.name.startswith(".")}
    assert shown == {*found, "multirun.yaml", "truth"}  # whatever else the launcher leaves begins with a dot
    assert [path.name for path in (tmp_path / launcher).iterdir()] == ["outputs"]
    again, said, _ = study(words, tmp_path / launcher, execute)
    assert again == 1
    assert said.count("was finished") == 4


@pytest.mark.parametrize("launcher", ["submitit_local", "submitit_slurm"])
def test_two_processes_train_a_cell_within_one_job(launcher, tmp_path, command, execute, slurm):
    overrides = ("trainer=ddp_cpu", "trainer.max_epochs=1", "seed=0")
    code, said, found = study(words_of(command, launcher, *overrides), tmp_path / launcher, execute)
    assert code == 0, said
    ((name, record),) = found.items()
    assert record.config["trainer"]["devices"] == 2
    _, _, expected = study(words_of(command, "headstart", *overrides), tmp_path / "own", execute)
    assert record.metrics == expected[name].metrics
    (log,) = (tmp_path / launcher / "outputs" / ".logs").iterdir()
    assert log.read_text().count("Finished: ") == 1


def one_thread() -> dict[str, str]:
    """As `execute`: with another number of threads the same sums are rounded otherwise."""
    return os.environ | {"OMP_NUM_THREADS": "1"}


def test_a_preempted_slurm_job_is_requeued_and_goes_on(tmp_path, command, execute, slurm):
    """SLURM's signal comes after the first epoch; of the others none is lost, and none is done twice."""
    epochs = "trainer.max_epochs=4"
    words = words_of(command, "submitit_slurm", "seed=0", epochs)
    (tmp_path / "study").mkdir()
    with (tmp_path / "said").open("wb") as out:
        process = subprocess.Popen(words, cwd=tmp_path / "study", stdout=out, stderr=out, env=one_thread())
        wait_for(lambda: list((tmp_path / "study").glob("outputs/*/checkpoints/last.ckpt")))
        os.kill(int((slurm / "1001" / "pid").read_text()), signal.SIGUSR2)
        assert process.wait(PATIENCE_SECONDS) == 0, (tmp_path / "said").read_text()
    assert (slurm / "1001" / "requeued").exists()
    ((name, record),) = records(tmp_path / "study").items()
    assert len(record.environment["attempts"]) == 2
    own = words_of(command, "headstart", "seed=0", epochs)
    _, _, expected = study(own, tmp_path / "own", execute)
    assert record.metrics == expected[name].metrics


def test_a_slurm_job_that_is_killed_is_named_and_ends_no_other(tmp_path, command, execute, slurm):
    words = words_of(command, "submitit_slurm", "seed=0,1", "trainer.max_epochs=2", "study.jobs=2")
    (tmp_path / "study").mkdir()
    with (tmp_path / "said").open("wb") as out:
        process = subprocess.Popen(words, cwd=tmp_path / "study", stdout=out, stderr=out, env=one_thread())
        wait_for(lambda: (slurm / "1001" / "pid").exists() and (slurm / "1002" / "pid").exists())
        os.kill(int((slurm / "1001" / "pid").read_text()), signal.SIGKILL)
        assert process.wait(PATIENCE_SECONDS) == 1
    said = (tmp_path / "said").read_text()
    assert "1 finished" in said
    assert "its job is lost: " in said
    assert "Traceback" not in said
    assert execute(words, tmp_path / "study", timeout=PATIENCE_SECONDS).returncode == 0
    assert [record.status for record in records(tmp_path / "study").values()] == ["finished"] * 2


def test_sbatch_is_given_what_the_user_set(tmp_path, command, execute, slurm):
    words = words_of(command, "submitit_slurm", "seed=0", "trainer.max_epochs=1", "hydra.launcher.timeout_min=240")
    code, said, _ = study(words, tmp_path / "study", execute)
    assert code == 0, said
    script = (slurm / "1001" / "script").read_text()
    for line in ("--partition=gpu", "--cpus-per-task=4", "--time=240", "--job-name=headstart"):
        assert f"#SBATCH {line}\n" in script


def wait_for(condition: Callable[[], Any], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
