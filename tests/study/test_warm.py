"""Cells are forks of a parent that has imported and run nothing; each is as a process that was started anew."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headstart.records.record import RunRecord
from headstart.runs.stopping import INTERRUPTED
from headstart.study.warm import Warm, start_cell

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere cells are processes of their own")

REPORT = """
import sys
from pathlib import Path
from headstart.study import forking
load = forking.load

def reporting():
    load()
    import torch
    modules = [name for name in {spared} if name in sys.modules]
    threads = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Threads:")]
    gpu = [torch.cuda.is_initialized(), "libcuda.so" in Path("/proc/self/maps").read_text()]
    Path({place!r}).write_text(repr((modules, threads[0].split()[1], gpu)))

forking.load = reporting
forking.main()
"""
SPARED = ("wandb", "matplotlib", "scipy", "pyarrow", "optuna", "tensorboard", "pandas", "IPython")

PROGRAM = """
import os, sys, time, torch
print(sys.argv[1:], os.getcwd(), os.environ["MARK"], os.getsid(0) == os.getpid(), torch.get_num_threads(), flush=True)
print("an error", file=sys.stderr, flush=True)
if sys.argv[1] == "sleep":
    time.sleep(60)
if sys.argv[1] == "raise":
    raise ValueError("of the cell")
sys.exit(int(sys.argv[1]))
"""
"""In the place of a training, with a module's name."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("warm")


@pytest.fixture(scope="module")
def parent(folder):
    (folder / "cell_of_a_test.py").write_text(PROGRAM)
    script = REPORT.format(spared=SPARED, place=str(folder / "report"))
    made = Warm(os.environ | {"PYTHONPATH": str(folder)}, ("-c", script))
    yield made
    made.end()


@pytest.fixture
def start(parent, tmp_path):
    return lambda word, **environment: parent.start(
        "cell_of_a_test", [word], tmp_path / "log", {**os.environ, "MARK": "here", **environment}
    )


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_parent_has_imported_what_a_cell_needs_and_no_more_has_one_thread_and_no_gpu(start, folder):
    assert start("0").wait(60) == 0
    assert (folder / "report").read_text() == "([], '1', [False, False])"


@pytest.mark.parametrize(("word", "code"), [("0", 0), ("3", 3), ("75", 75), ("raise", 1)])
def test_a_cell_has_its_own_words_folder_environment_session_threads_log_and_exit_code(start, tmp_path, word, code):
    assert start(word, MARK="there", OMP_NUM_THREADS="3").wait(20) == code
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[:2] == [f"['{word}'] {os.getcwd()} there True 3", "an error"]
    assert ("ValueError: of the cell" in lines) == (word == "raise")
    assert "MARK" not in os.environ


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_a_cell_and_no_other(start, tmp_path, number):
    one, other = start("sleep"), start("sleep")
    assert one.poll() is None
    os.kill(one.pid, number)
    assert one.wait(20) == -number
    assert other.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        other.wait(0.2)
    os.killpg(other.pid, signal.SIGKILL)
    other.wait(20)


def test_without_its_parent_a_cell_is_told_as_lost_and_the_next_is_a_process_of_its_own(folder, tmp_path):
    parent = Warm(os.environ, ("-c", "import sys; sys.exit(3)"))
    assert parent.start("headstart", ["--version"], tmp_path / "log", os.environ) is None
    assert not parent.is_there


def test_other_programs_are_processes_of_their_own(tmp_path):
    assert start_cell([sys.executable, "-c", "pass"], tmp_path / "log", os.environ) is None


# --------------------------------------------------------------------------------- with trainings

SMALL = (
    "dataset=shapes",
    "dataset.num_train=4",
    "dataset.num_val=2",
    "dataset.min_size=96",
    "dataset.max_size=128",
    "dataset.batch_size=2",
    "dataset.num_workers=0",
    "source=scratch",
    "strategy.norm=train",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "logger=csv",
)


@pytest.fixture(scope="module")
def trained(folder):
    """`trained(warm, *words)`: a cell's record, as a fork or as a process of its own."""
    parent = Warm(os.environ)

    def call(warm: bool, *words: str, at: Path) -> tuple[int, RunRecord]:
        given = ["train", *SMALL, f"output_dir={at}", *words]
        if warm:
            code = parent.start("headstart", given, folder / "log", os.environ).wait(300)
        else:
            code = subprocess.run([sys.executable, "-m", "headstart", *given], check=False).returncode
        (record,) = at.glob("*/record.json")
        return code, RunRecord.read(record)

    yield call
    parent.end()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [(), ("trainer.devices=2", "trainer.strategy=ddp")])
def test_a_fork_finds_what_a_process_of_its_own_finds(trained, tmp_path, processes):
    """Also where it starts further processes itself."""
    found = [trained(warm, "trainer.max_epochs=1", *processes, at=tmp_path / str(warm)) for warm in (True, False)]
    assert [code for code, _ in found] == [0, 0]
    ours, theirs = (record for _, record in found)
    assert repr(ours.metrics["val"]) == repr(theirs.metrics["val"])
    assert {**ours.environment, **dict.fromkeys(("attempts", "study"))} == {
        **theirs.environment,
        **dict.fromkeys(("attempts", "study")),
    }
    assert ours.plan == theirs.plan


@pytest.mark.slow
@pytest.mark.parametrize("what", ["told to end", "parent killed"])
def test_a_cell_that_is_told_to_end_or_has_lost_its_parent_ends_in_order(tmp_path, what):
    parent = Warm(os.environ)
    given = ["train", *SMALL, f"output_dir={tmp_path}", "trainer.max_epochs=500"]
    cell = parent.start("headstart", given, tmp_path / "log", os.environ)
    until(lambda: list(tmp_path.glob("*/history.csv")), 120)
    if what == "told to end":
        cell.terminate()
        assert cell.wait(40) == INTERRUPTED
    else:
        parent.process.kill()
        until(lambda: "Interrupted" in (tmp_path / "log").read_text(), 40)
        assert cell.poll() == -signal.SIGTERM
    (record,) = tmp_path.glob("*/record.json")
    assert RunRecord.read(record).status == "interrupted"
    parent.end()
