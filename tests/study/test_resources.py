"""Threads and GPUs: divided evenly, and as the user set them where the user did."""

import subprocess

import pytest

from headstart.study import resources


@pytest.fixture(autouse=True)
def eight_cores_and_no_driver(monkeypatch):
    monkeypatch.setattr(resources, "cores", lambda: 8)
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")


@pytest.mark.parametrize(
    ("gpus", "jobs", "expected"),
    [
        ("", 2, [[], []]),
        ("0,1,2,3", 2, [["0", "2"], ["1", "3"]]),
        ("0,1", 2, [["0"], ["1"]]),
        ("0,1", 5, [["0"], ["1"], ["0"], ["1"], ["0"]]),
        ("GPU-a,GPU-b", 1, [["GPU-a", "GPU-b"]]),
        ("-1", 2, [[], []]),
    ],
)
def test_gpus_are_dealt_out(monkeypatch, gpus, jobs, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    assert resources.shares(jobs) == expected


def test_gpus_are_those_of_the_driver_where_nothing_says_which(monkeypatch, tmp_path):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert resources.visible_gpus() == ["0", "1"]


def test_without_a_driver_there_are_none():
    assert resources.visible_gpus() == []


@pytest.mark.parametrize(
    ("jobs", "processes", "threads"), [(2, 1, "4"), (2, 2, "2"), (3, 1, "2"), (16, 1, "1"), (2, "auto", "4")]
)
def test_threads_are_divided_among_runs_and_the_processes_of_each(jobs, processes, threads):
    assert resources.variables(jobs, [], processes) == {"OMP_NUM_THREADS": threads}


def test_a_run_alone_has_everything_and_the_users_number_stays(monkeypatch):
    assert resources.variables(1, ["0", "1"], 1) == {}
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert resources.variables(2, ["1"], 1) == {"CUDA_VISIBLE_DEVICES": "1"}


def test_a_driver_that_fails_counts_as_none(monkeypatch, tmp_path):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert subprocess.run(["nvidia-smi"], check=False).returncode == 9
    assert resources.visible_gpus() == []
