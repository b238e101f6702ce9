"""Of processes that train together the one that fails is heard, and none is left waiting.

This file is also the program that the tests start: `headstart` with a loss that fails on the ranks that are named.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from headstart.records.record import RunRecord

SETTINGS = ("dataset.num_train=16", "dataset.num_val=2", "dataset.batch_size=2", "training.evaluate_untrained=false")
TWO = ("trainer.strategy=ddp", "trainer.devices=2")
PATIENCE_SECONDS = 150


def main(how: str, ranks: str, *arguments: str) -> None:
    from headstart.cli import main as headstart
    from headstart.training.module import DetectionModule

    losses, rank = DetectionModule._losses, int(os.environ.get("LOCAL_RANK", 0))

    def failing(self, batch):
        found = losses(self, batch)
        if str(rank) not in ranks or self.trainer.global_step < 2:
            return found
        if how == "hangs":
            Path("hangs").touch()
            time.sleep(1000)
        if how == "raises":
            raise RuntimeError(f"rank {rank} is broken")
        return {name: value * float("nan") for name, value in found.items()}

    DetectionModule._losses = failing  # type: ignore[method-assign]
    headstart(list(arguments))


def start(folder, command, how, ranks):
    words = command(*SETTINGS, *TWO)
    program = [sys.executable, __file__, how, ranks, *words[words.index("train") :]]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(program, cwd=folder, env=environment, **pipes)


def record_in(folder):
    (path,) = (folder / "outputs").glob("*/record.json")
    return RunRecord.read(path)


@pytest.mark.slow
@pytest.mark.parametrize(("how", "ranks"), [("is_nan", "1"), ("is_nan", "0"), ("is_nan", "01")])
def test_the_mistake_of_one_process_is_told_once_and_recorded(tmp_path, command, how, ranks):
    out, err = start(tmp_path, command, how, ranks).communicate(timeout=PATIENCE_SECONDS)
    assert err.count("The loss is not finite in epoch 1, batch 3") == 1, err
    assert "Connection closed" not in err + out
    record = record_in(tmp_path)
    assert (record.status, record.error["type"]) == ("failed", "UserError")
    assert "The loss is not finite" in record.error["message"]


@pytest.mark.slow
def test_an_error_of_the_program_is_told_with_the_place_where_it_was_raised(tmp_path, command):
    process = start(tmp_path, command, "raises", "1")
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert err.count("RuntimeError: rank 1 is broken\n") >= 1
    assert "in failing" in err
    assert record_in(tmp_path).error["message"] == "rank 1 is broken"


@pytest.mark.slow
def test_no_process_outlives_that_with_rank_0(tmp_path, command):
    """One hangs on the device, say, and the first is killed."""
    process = start(tmp_path, command, "hangs", "1")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (tmp_path / "hangs").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    others = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=PATIENCE_SECONDS)
    _, alive = psutil.wait_procs(others, timeout=45)
    assert not alive
    assert record_in(tmp_path).status == "interrupted"


if __name__ == "__main__":
    main(*sys.argv[1:])
