"""A run's lock: one holder, known by name, gone with its process."""

import os
import subprocess
import sys

import pytest

from headstart.runs.lock import Busy, is_busy, locked

HOLD = "import sys, time; from pathlib import Path; from headstart.runs.lock import locked\n"
HOLD += "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


def test_a_second_holder_is_refused_by_name_until_the_first_is_killed(tmp_path):
    folder = tmp_path / "outputs" / "run"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert is_busy(folder)
    with (
        pytest.raises(Busy, match=f"run is being trained by another process .process {process.pid} on "),
        locked(folder),
    ):
        raise AssertionError
    process.kill()
    process.wait()
    assert not is_busy(folder)
    with locked(folder):
        assert is_busy(folder)
    assert not is_busy(folder)


def test_a_look_at_a_free_lock_leaves_it_free_and_its_folder_alone(tmp_path):
    assert not is_busy(tmp_path / "run")
    assert os.listdir(tmp_path) == [".locks"]


def test_two_runs_do_not_stand_in_each_others_way(tmp_path):
    with locked(tmp_path / "a"), locked(tmp_path / "b"):
        assert is_busy(tmp_path / "a")
        assert is_busy(tmp_path / "b")
