"""A search for the best settings, with real runs: killed and continued, it ends with the trials asked for."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from headstart.records.record import RunRecord, read_all

optuna = pytest.importorskip("optuna", reason="hydra/sweeper=optuna is an extra: pip install 'headstart[optuna]'")

pytestmark = pytest.mark.slow

TRIALS = 8
SEARCH = (
    "hydra/sweeper=optuna",
    f"hydra.sweeper.n_trials={TRIALS}",
    "optimizer.lr=tag(log, interval(1e-4,1e-2))",
    "strategy=full,head_only",
    "study.jobs=2",
)
PATIENCE_SECONDS = 300


def trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    files = list(folder.glob("outputs/.study/optuna-*.db"))
    if not files:
        return []
    storage = f"sqlite:///{files[0]}"
    try:
        (name,) = optuna.get_all_study_names(storage)
        return optuna.load_study(study_name=name, storage=storage).trials
    except Exception:  # another process is just making it
        return []


def finished(folder: Path) -> dict[str, float]:
    """Folder of a run -> when its record was written last."""
    runs = read_all(folder / "outputs") if (folder / "outputs").exists() else []
    return {path.name: (path / "record.json").stat().st_mtime_ns for path, run in runs if run.status == "finished"}


def kill_after(told: int, words: list[str], folder: Path) -> None:
    """SIGKILL for the sweep when so many trials have their value and another one is at work."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (
        sum(t.state.is_finished() for t in trials(folder)) >= told and trials(folder)[-1].state.name == "RUNNING"
    ):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.5)
    time.sleep(3)  # into the run
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.timeout(1800)
def test_a_search_killed_twice_ends_with_its_trials_and_runs_none_of_the_finished_ones_again(
    tmp_path, command, execute
):
    words = command(*SEARCH)
    words.insert(words.index("train") + 1, "-m")
    kill_after(1, words, tmp_path)
    kill_after(4, words, tmp_path)
    before, told = finished(tmp_path), [t for t in trials(tmp_path) if t.state.is_finished()]
    assert len(told) >= 4
    result = execute(words, tmp_path, timeout=900)
    assert result.returncode == 0, result.stdout + result.stderr
    after = trials(tmp_path)
    assert [trial.number for trial in after] == list(range(TRIALS))
    assert all(trial.state.name in ("COMPLETE", "PRUNED") for trial in after)
    assert [(t.number, t.params, t.value) for t in after if t.number in {o.number for o in told}] == [
        (t.number, t.params, t.value) for t in told
    ]
    assert {name: finished(tmp_path)[name] for name in before} == before
    for trial in after:
        if trial.state.name == "COMPLETE":
            record = RunRecord.read(tmp_path / trial.user_attrs["folder"] / "record.json")
            assert record.metrics["val"]["map"] == trial.value
            assert record.config["optimizer"]["lr"] == trial.params["optimizer.lr"]
    assert f"{TRIALS} trials" in result.stdout
