"""Processes that are killed, stopped or robbed of a file: the run says so, soon, nothing is left, and it goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import PIL.Image
import pytest
import torch
from safetensors.torch import load_file

from headstart.records.record import RunRecord
from headstart.runs.lock import BUSY

FAULTY = Path(__file__).with_name("faulty.py")
SETTINGS = (
    "dataset.num_train=16",
    "dataset.num_val=4",
    "trainer.max_epochs=3",
    "strategy=full",
    "training.evaluate_untrained=false",
)
TWO = ("trainer.strategy=ddp", "trainer.devices=2", "dataset.batch_size=2")
PATIENCE_SECONDS = 150
STOP_SECONDS = 30


class Faulty:
    """A command under way in a folder; its descendants are known by a mark in their environment."""

    def __init__(self, folder: Path, words: list[str], event: str, place: str, **environment: str) -> None:
        self.folder = folder
        self.mark = f"FAULTS_OF={folder}-{time.monotonic_ns()}"
        name, _, text = self.mark.partition("=")
        program = [sys.executable, str(FAULTY), event, place, *words[words.index("train") :]]
        self.process = subprocess.Popen(
            program,
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120", name: text} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, name: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not list(self.folder.glob(name)):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, f"{name} did not come"
            time.sleep(0.02)

    def end(self, seconds: float = STOP_SECONDS) -> tuple[int, str, str]:
        """Within so many seconds."""
        try:
            out, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise AssertionError(("it did not end", *self.process.communicate())) from None
        return self.process.returncode, out, err

    def left(self) -> list[str]:
        """What runs of it, or anything that it started, some seconds after its end."""
        deadline = time.monotonic() + 10
        while (found := list(self._alive())) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def _alive(self):
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (path / "environ").read_bytes():
                    yield (path / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue


def record_in(folder: Path) -> RunRecord:
    (path,) = (folder / "outputs").glob("*/record.json")
    return RunRecord.read(path)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (path,) = (folder / "outputs").glob("*/model.safetensors")
    return load_file(path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, command, execute):
    """The weights of a run with these settings; each is trained once."""
    known = {}

    def of(*settings: str) -> dict[str, torch.Tensor]:
        if settings not in known:
            folder = tmp_path_factory.mktemp("undisturbed")
            result = execute(command(*settings), folder)
            assert result.returncode == 0, result.stdout + result.stderr
            known[settings] = weights(folder)
        return known[settings]

    return of


def goes_on_exactly(folder, words, execute, expected) -> None:
    result = execute(words, folder)
    assert result.returncode == 0, result.stderr
    assert record_in(folder).status == "finished"
    assert record_in(folder).error is None
    found = weights(folder)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


WORKERS = (*SETTINGS, "dataset.num_workers=2", "dataset.cache=none")


@pytest.mark.slow
def test_a_worker_that_is_killed_is_told_with_the_remedy_and_the_same_command_goes_on(
    tmp_path, command, execute, undisturbed
):
    words = command(*WORKERS)
    run = Faulty(tmp_path, words, "dies", "worker")
    run.wait_for("at-0")
    code, _, err = run.end()
    assert code == 1
    assert "A process that reads images (pid " in err
    assert "was killed (Killed)" in err
    assert "dataset.num_workers=1, or 0" in err
    assert "Traceback" not in err
    record = record_in(tmp_path)
    assert (record.status, record.error["type"]) == ("failed", "UserError")
    assert not run.left()
    goes_on_exactly(tmp_path, words, execute, undisturbed(*WORKERS))


STOPS = [
    (place, settings, signal.SIGTERM)
    for settings in (SETTINGS, (*SETTINGS, *TWO), WORKERS)
    for place in ("train", "val", "read")
    if not (settings is WORKERS and place == "read")
]
STOPS += [("val", (*WORKERS, *TWO), signal.SIGTERM)]


@pytest.mark.slow
@pytest.mark.parametrize(("place", "settings", "stop"), [*STOPS, ("train", SETTINGS, signal.SIGHUP)])
def test_a_signal_stops_a_run_wherever_it_is_and_nothing_is_left(
    tmp_path, command, execute, undisturbed, place, settings, stop
):
    words = command(*settings)
    run = Faulty(tmp_path, words, "waits" if place == "read" else "slow", place)
    run.wait_for("at-0")
    run.process.send_signal(stop)
    code, _, err = run.end()
    assert code == 130, err
    assert err.count("the same command goes on") == 1
    assert "Traceback" not in err
    assert record_in(tmp_path).status == "interrupted"
    assert not run.left()
    goes_on_exactly(tmp_path, words, execute, undisturbed(*settings))


def all_of(process: subprocess.Popen[str], number: int) -> None:
    os.killpg(process.pid, number)


def rank_0(process: subprocess.Popen[str], number: int) -> None:
    process.send_signal(number)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["waits:1", "blocks:1"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("send", [all_of, rank_0])
def test_a_signal_stops_all_processes_also_where_one_hangs(tmp_path, command, how, number, send):
    run = Faulty(tmp_path, command(*SETTINGS, *TWO), how, "train")
    run.wait_for("at-1")
    send(run.process, number)
    code, _, err = run.end()
    assert code == 130, err
    assert err.count("the same command goes on") == 1
    assert record_in(tmp_path).status == "interrupted"
    assert not run.left()


@pytest.mark.slow
def test_a_signal_to_another_rank_stops_all(tmp_path, command):
    run = Faulty(tmp_path, command(*SETTINGS, *TWO), "slow:1", "train")
    run.wait_for("at-1")
    (other,) = (tmp_path / "outputs").glob("*/.rank-1-*")
    os.kill(int(other.name.split("-")[2]), signal.SIGTERM)
    code, _, err = run.end()
    assert code == 130, err
    assert record_in(tmp_path).status == "interrupted"
    assert not run.left()


@pytest.mark.slow
def test_a_rank_that_is_killed_is_named_in_the_record_with_the_signal(tmp_path, command, execute, undisturbed):
    words = command(*SETTINGS, *TWO)
    run = Faulty(tmp_path, words, "dies:1", "train")
    run.wait_for("at-1")
    code, _, err = run.end()
    assert code == 1, err
    assert "The process with rank 1 (pid " in err
    record = record_in(tmp_path)
    assert record.status == "failed"
    assert "ended by signal 9 (SIGKILL)" in record.error["message"]
    assert "Connection closed" not in err
    assert not run.left()
    goes_on_exactly(tmp_path, words, execute, undisturbed(*SETTINGS, *TWO))


SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NAME": "train",
    "SLURM_NTASKS": "1",
    "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_NODELIST": "localhost",
    "SLURM_JOB_NUM_NODES": "1",
}


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGUSR1])
def test_in_a_slurm_job_a_signal_stops_the_run_and_lightning_queues_nothing(
    tmp_path, command, execute, undisturbed, stop
):
    words = command(*SETTINGS)
    run = Faulty(tmp_path, words, "slow", "train", **SLURM)
    run.wait_for("at-0")
    run.process.send_signal(stop)
    code, _, err = run.end()
    assert code == 130, err
    assert record_in(tmp_path).status == "interrupted"
    assert not list((tmp_path / "outputs").rglob("hpc_ckpt*"))
    goes_on_exactly(tmp_path, words, execute, undisturbed(*SETTINGS))


@pytest.mark.slow
@pytest.mark.parametrize("search", [False, True])
def test_a_signal_stops_a_study_with_its_cells(tmp_path, command, search):
    cells = (
        "-m",
        "seed=1,2",
        "study.jobs=2",
        *(("hydra/sweeper=optuna", "hydra.sweeper.n_trials=2") if search else ()),
    )
    words = [*command(), *cells, *SETTINGS, "trainer.max_epochs=50"]
    words = [
        *words[: words.index("train") + 1],
        "-m",
        *(word for word in words[words.index("train") + 1 :] if word != "-m"),
    ]
    run = Faulty(tmp_path, words, "slow", "none")
    run.wait_for("outputs/*/history.csv")
    run.process.send_signal(signal.SIGTERM)
    code, _, err = run.end()
    assert code == 130, err
    found = [RunRecord.read(path).status for path in (tmp_path / "outputs").glob("*/record.json")]
    assert set(found) == {"interrupted"}
    assert not run.left()


@pytest.mark.slow
def test_a_second_process_with_the_same_run_is_refused_and_the_first_is_none_the_wiser(
    tmp_path, command, execute, undisturbed
):
    words = command(*SETTINGS)
    run = Faulty(tmp_path, words, "slow", "train")
    run.wait_for("at-0")
    run.process.send_signal(signal.SIGSTOP)  # so that it does not end meanwhile
    second = execute(words, tmp_path)
    run.process.send_signal(signal.SIGCONT)
    assert second.returncode == BUSY
    assert f"is being trained by another process (process {run.process.pid} on " in second.stderr
    assert "Traceback" not in second.stderr
    assert run.end(PATIENCE_SECONDS)[0] == 0
    assert all(torch.equal(weights(tmp_path)[name], tensor) for name, tensor in undisturbed(*SETTINGS).items())


LOST = {
    "vanishes": ".png: the image is not there any more",
    "has another size": "is 40 x 30 now and was 120 x 90 when the run began",
    "is another of the same size": "is another one now than when the run began",
}
"""What becomes of a picture -> what is told."""
SQUARES = ("dataset=voc_folder", "dataset.root=squares", "dataset.cache=none", "trainer.max_epochs=3", *SETTINGS[3:])


def of_squares(command) -> list[str]:
    return [word for word in command(*SQUARES) if "dataset.num_" not in word]


@pytest.fixture(scope="module")
def squares_undisturbed(tmp_path_factory, command, execute, draw_squares) -> dict[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("squares")
    draw_squares(folder / "squares")
    result = execute([*of_squares(command), "dataset.num_workers=0"], folder)
    assert result.returncode == 0, result.stderr
    return weights(folder)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("change", LOST)
def test_a_picture_that_is_lost_under_way_is_named_and_put_back_the_run_goes_on(
    tmp_path, command, execute, draw_squares, squares_undisturbed, change, workers
):
    """No traceback either where a worker finds it."""
    draw_squares(tmp_path / "squares")
    words = [*of_squares(command), f"dataset.num_workers={workers}"]
    run = Faulty(tmp_path, words, "slow", "train")
    run.wait_for("at-0")
    lost = {path: path.read_bytes() for path in (tmp_path / "squares").glob("*.png")}
    for path in lost:
        path.unlink()
        if change != "vanishes":
            PIL.Image.new("RGB", (40, 30) if change == "has another size" else (120, 90)).save(path)
    code, _, err = run.end()
    assert code == 1
    assert LOST[change] in err
    assert "Traceback" not in err
    assert record_in(tmp_path).status == "failed"
    for path, content in lost.items():
        path.write_bytes(content)
    assert not run.left()
    goes_on_exactly(tmp_path, words, execute, squares_undisturbed)
