"""Cells as jobs of another launcher: each its own process there, none lost with another."""

import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import MissingConfigException
from hydra.plugins.launcher import Launcher

import hydra_plugins
from headstart import cli
from headstart.records.record import RunRecord, read_all
from headstart.runs.lock import BUSY
from headstart.study import foreign
from headstart.study.foreign import CellTask, ForeignPool, stop_file
from headstart.study.places import Places
from headstart.study.pool import Job


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(foreign, "LOOK_SECONDS", 0.02)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs" / ".logs").mkdir(parents=True)


def cell_task(script: str, **settings: Any) -> CellTask:
    folder = Path("outputs", "run")
    given = {"environment": {}, "places": 1, "processes": 1, "monitor": "val/map"} | settings
    words = (sys.executable, "-c", script)
    return CellTask(words, folder, Path("outputs", ".logs", "run.log"), Path.cwd(), **given)


def write_finished(folder: Path, value: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    RunRecord(status="finished", metrics={"val": {"map": value}}).write(folder / "record.json")


# ------------------------------------------------------------------------------------------ within the job


def test_a_finished_run_gives_the_value_that_monitor_names():
    write_finished(Path("outputs/run"), 0.25)
    assert cell_task("print('hello')")() == {"status": "finished", "reason": "", "value": 0.25}
    assert Path("outputs/.logs/run.log").read_text() == "hello\n"


def test_the_job_may_stand_in_another_folder_than_the_user(monkeypatch, tmp_path):
    write_finished(Path("outputs/run"), 0.25)
    task = cell_task("import os; print(os.getcwd())")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert task()["status"] == "finished"
    assert (tmp_path / "outputs/.logs/run.log").read_text().strip() == str(tmp_path)


def test_a_run_that_fails_is_a_result_and_no_exception():
    assert cell_task("raise SystemExit(3)")() == {"status": "failed", "reason": "exit code 3", "value": None}
    assert "SIGKILL" in cell_task("import os; os.kill(os.getpid(), 9)")()["reason"]


def test_exit_code_zero_without_a_finished_record_is_no_success():
    assert cell_task("")()["status"] == "failed"


def test_a_folder_that_the_node_does_not_see_is_a_result_and_no_exception(tmp_path):
    task = cell_task("")
    (tmp_path / "outputs" / ".logs").rmdir()
    assert task()["reason"].startswith("FileNotFoundError: ")


def test_a_run_that_another_process_has_is_tried_again():
    write_finished(Path("outputs/run"), 0.25)
    script = (
        f"import pathlib; p = pathlib.Path('tried'); n = p.exists(); p.touch(); raise SystemExit(0 if n else {BUSY})"
    )
    assert cell_task(script)()["status"] == "finished"


SLEEPS = "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(60)"


def pid_when_there() -> int:
    while not (Path("pid").exists() and Path("pid").read_text()):
        time.sleep(0.01)
    return int(Path("pid").read_text())


def test_the_stop_file_ends_the_run():
    task = cell_task(SLEEPS)
    threading.Thread(target=lambda: (pid_when_there(), stop_file(task.log).touch())).start()
    assert task()["status"] == "stopped"
    with pytest.raises(ProcessLookupError):
        os.kill(pid_when_there(), 0)


def test_what_the_launcher_raises_into_the_job_ends_the_run():
    def time_is_up(*_: object) -> None:
        raise RuntimeError("time is up")

    before = signal.signal(signal.SIGUSR2, time_is_up)  # as submitit does
    main = threading.main_thread().ident
    assert main
    threading.Thread(target=lambda: (pid_when_there(), signal.pthread_kill(main, signal.SIGUSR2))).start()
    try:
        assert cell_task(SLEEPS)()["reason"] == "RuntimeError: time is up"
    finally:
        signal.signal(signal.SIGUSR2, before)
    with pytest.raises(ProcessLookupError):
        os.kill(pid_when_there(), 0)


def test_the_run_has_the_users_variables_and_its_share_of_the_threads(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = len(os.sched_getaffinity(0))
    found = cell_task("", environment={"HEADSTART_DATA": "/there"}, places=2)._environment()
    assert found["HEADSTART_DATA"] == "/there"
    assert found["OMP_NUM_THREADS"] == str(max(1, cores // 2))
    assert found["HEADSTART_PARENT"] == str(os.getpid())
    assert "OMP_NUM_THREADS" not in cell_task("")._environment()


# ------------------------------------------------------------------------------------------------ the study


class FakeLauncher(Launcher):
    """As another launcher: the task goes through pickle, and the run is a line of Python."""

    script: Callable[[str], str]
    launched: list[list[str]]
    tasks: list[CellTask]
    at_once: int
    most_at_once: int

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.task = pickle.loads(pickle.dumps(task_function))

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        kind = type(self)
        (overrides,) = job_overrides
        kind.launched.append(list(overrides))
        kind.tasks.append(self.task)
        kind.at_once += 1
        kind.most_at_once = max(kind.most_at_once, kind.at_once)
        try:
            script = kind.script(" ".join(self.task.words))
            if script == "lost":
                raise RuntimeError("several lines\nthe node is gone\n")
            returned = JobReturn(status=JobStatus.COMPLETED)
            returned.return_value = CellTask(**{**vars(self.task), "words": (sys.executable, "-c", script)})()
            return [returned]
        finally:
            kind.at_once -= 1


FakeLauncher.__module__ = "hydra_plugins.fake"

FINISHES = """
import os, pathlib, sys
from headstart.records.record import RunRecord
folder = pathlib.Path("{folder}")
folder.mkdir(parents=True, exist_ok=True)
RunRecord(status="finished", metrics={{"val": {{"map": 0.5}}}}).write(folder / "record.json")
"""


@pytest.fixture
def launcher(monkeypatch) -> type[FakeLauncher]:
    """`hydra/launcher=fake`; `script` says what the process of a cell does, by the command of the cell."""
    module = ModuleType("hydra_plugins.fake")
    module.FakeLauncher = FakeLauncher  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(hydra_plugins, "fake", module, raising=False)
    Plugins.instance().register(FakeLauncher)
    node = {"_target_": "hydra_plugins.fake.FakeLauncher"}
    ConfigStore.instance().store(group="hydra/launcher", name="fake", node=node, provider="tests")
    for name, value in {"launched": [], "tasks": [], "at_once": 0, "most_at_once": 0}.items():
        monkeypatch.setattr(FakeLauncher, name, value, raising=False)
    monkeypatch.setattr(FakeLauncher, "script", staticmethod(finishes), raising=False)
    return FakeLauncher


def finishes(_words: str) -> str:
    return FINISHES.format(folder=FakeLauncher.tasks[-1].folder)


def study(monkeypatch: pytest.MonkeyPatch, *overrides: str, launcher: Sequence[str] = ("hydra/launcher=fake",)) -> int:
    """The exit code."""
    words = ["train", "-m", *overrides, *launcher]
    monkeypatch.setattr(sys, "argv", ["headstart", *words])
    try:
        cli.main(words)
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def test_each_cell_is_one_job_that_starts_the_single_run(launcher, monkeypatch, capsys):
    assert study(monkeypatch, "strategy=full,head_only", "seed=3", "study.jobs=1") == 0
    assert launcher.launched == [[f"strategy={name}", "seed=3", "study.jobs=1"] for name in ("full", "head_only")]
    assert [task.words[1:] for task in launcher.tasks] == [
        ("-m", "headstart", "train", f"strategy={name}", "seed=3") for name in ("full", "head_only")
    ]
    assert launcher.most_at_once == 1
    assert "2 finished" in capsys.readouterr().out


def test_study_jobs_are_under_way_at_a_time(launcher, monkeypatch):
    monkeypatch.setattr(launcher, "script", staticmethod(lambda words: "import time; time.sleep(1)"))
    study(monkeypatch, "seed=0,1,2,3", "study.jobs=3")
    assert launcher.most_at_once == 3
    assert len(launcher.launched) == 4


def test_jobs_that_run_elsewhere_are_not_measured(launcher, monkeypatch, capsys):
    assert study(monkeypatch, "seed=0,1", "study.jobs=auto") == 1
    assert launcher.launched == []
    assert "hydra/launcher=fake has them on others: use study.jobs=N" in capsys.readouterr().err


def test_failed_and_lost_cells_end_no_other_and_are_named(launcher, monkeypatch, capsys):
    scripts = {"seed=1": "raise SystemExit(3)", "seed=2": "lost"}
    monkeypatch.setattr(launcher, "script", staticmethod(lambda words: scripts.get(words.split()[-1]) or finishes("")))
    assert study(monkeypatch, "seed=0,1,2") == 1
    found = capsys.readouterr()
    assert "1 finished" in found.out
    assert re.search(r"  exit code 3\n    seed=1 \(log: outputs/.logs/\S+-seed1-\S+\)\n", found.out)
    assert "  its job is lost: RuntimeError: the node is gone\n    seed=2\n" in found.out
    assert "2 of 3 cells failed; the same command runs those again" in found.err


def test_no_job_for_what_makes_no_sense_or_is_finished(launcher, monkeypatch, capsys):
    assert study(monkeypatch, "source=scratch,imagenet", "strategy=full,head_only") == 0
    assert len(launcher.launched) == 3
    assert "1 not applicable" in capsys.readouterr().out
    assert sorted(record.status for _, record in read_all(Path())) == ["finished"] * 3 + ["not_applicable"]
    assert study(monkeypatch, "source=scratch,imagenet", "strategy=full,head_only") == 0
    assert len(launcher.launched) == 3


def test_a_source_is_a_job_before_those_of_its_cells(launcher, monkeypatch):
    study(monkeypatch, "source=pretrained", "seed=0,1", "study.jobs=2")
    first, *others = [task.words for task in launcher.tasks]
    assert first[-1] == "study.only_source=1"
    assert sorted(words[4:] for words in others) == [("source=pretrained", "seed=0"), ("source=pretrained", "seed=1")]


def test_the_users_folder_of_configuration_reaches_every_job(launcher, monkeypatch, tmp_path):
    (tmp_path / "strategy").mkdir()
    (tmp_path / "strategy" / "mine.yaml").write_text("defaults: [schema_base, _self_]\nname: mine\nlr: {adamw: 0.1}\n")
    study(monkeypatch, "--config-dir", str(tmp_path), "strategy=mine")
    assert launcher.tasks[0].words[4:] == ("--config-dir", str(tmp_path), "strategy=mine")


def foreign_pool(job: Job, tell: Callable[[Job | None], None] = lambda job: None) -> ForeignPool:
    return ForeignPool([job], Places(1), "study", tell, lambda _, task: pickle.loads(pickle.dumps(task)), False)


def sleeping_job() -> Job:
    return Job("it", [sys.executable, "-c", SLEEPS], Path("outputs/run"))


def test_a_watch_that_has_seen_enough_ends_the_job(tmp_path):
    job, seen = sleeping_job(), []

    def watch(rows: Any) -> bool:
        seen.append(list(rows))
        return rows[-1]["epoch"] == 1

    job.watch = watch
    (tmp_path / "outputs/run").mkdir()
    history = tmp_path / "outputs/run/history.csv"
    history.write_text("epoch,val/map\n0,0.1\n")
    threading.Timer(1, lambda: history.write_text("epoch,val/map\n0,0.1\n1,0.2\n")).start()
    foreign_pool(job).run()
    assert job.status == "stopped"
    assert seen == [[{"epoch": 0.0, "val/map": 0.1}], [{"epoch": 0.0, "val/map": 0.1}, {"epoch": 1.0, "val/map": 0.2}]]
    assert not stop_file(job.log).exists()


def test_interrupted_the_study_ends_its_jobs_and_can_be_gone_on_with():
    def interrupt(_: Job | None) -> None:
        if Path("pid").exists():
            raise KeyboardInterrupt

    job = sleeping_job()
    with pytest.raises(KeyboardInterrupt):
        foreign_pool(job, interrupt).run()
    pid = pid_when_there()
    for _ in range(500):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.01)
    else:
        pytest.fail("the run goes on")
    again = Job("it", [sys.executable, "-c", FINISHES.format(folder="outputs/run")], Path("outputs/run"))
    foreign_pool(again).run()
    assert (again.status, again.value) == ("finished", 0.5)


def test_ctrl_c_is_for_the_study_and_not_for_what_the_launcher_starts():
    reads_mask = "import signal; print(*[int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])])"
    said: list[str] = []

    def start() -> dict[str, Any]:
        said.append(subprocess.check_output([sys.executable, "-c", reads_mask], text=True))
        return {"status": "finished", "reason": "", "value": None}

    ForeignPool([sleeping_job()], Places(1), "study", lambda job: None, lambda job, task: start, False).run()
    assert str(int(signal.SIGINT)) in said[0].split()


# ---------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["hydra/launcher=basic"], "leave it out, and set study.jobs=N"),
        (["hydra/launcher=submitit_local", "hydra.launcher.tasks_per_node=2"], "Use trainer.devices=N"),
        (["hydra/launcher=submitit_slurm", "hydra.launcher.nodes=2"], "Use trainer.devices=N"),
        (["hydra/launcher=submitit_slurm", "hydra.launcher.array_parallelism=8"], "Use study.jobs=8"),
        (["hydra/launcher=submitit_local"], "Set hydra.launcher.gpus_per_node=N"),
    ],
)
def test_what_a_launcher_would_ignore_is_refused_before_any_job(monkeypatch, capsys, overrides, message):
    if any("submitit" in word for word in overrides):
        pytest.importorskip("submitit", reason="pip install 'headstart[slurm]'")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert study(monkeypatch, "seed=0,1", launcher=overrides) == 1
    found = capsys.readouterr()
    assert message in found.err
    assert "Traceback" not in found.err
    assert "started" not in found.out


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("submitit_slurm", "pip install 'headstart[slurm]'"),
        ("submitit_local", "pip install 'headstart[slurm]'"),
        ("ray", "pip install 'headstart[ray]'"),
        ("joblib", "not offered: leave it out, and set study.jobs=N"),
    ],
)
def test_without_its_package_a_launcher_names_what_to_do(capsys, name, advice):
    def ask() -> None:
        raise MissingConfigException("Could not find it", f"hydra/launcher/{name}", ["basic", "headstart"])

    with pytest.raises(SystemExit) as stopped:
        cli._guarded(ask)
    assert stopped.value.code == 1
    assert advice in capsys.readouterr().err


def test_the_default_launcher_is_not_wrapped(monkeypatch):
    from omegaconf import OmegaConf

    from hydra_plugins.headstart_launcher.wrapped import WrapLauncher

    config = OmegaConf.create(
        {"hydra": {"launcher": {"_target_": "hydra_plugins.headstart_launcher.launcher.HeadstartLauncher"}}}
    )
    WrapLauncher().on_multirun_start(config)
    assert config.hydra.launcher._target_.endswith(".HeadstartLauncher")
