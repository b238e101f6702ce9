"""With study.jobs=auto the first cell is alone and measured; then as many run as the machine has room for."""

import math
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from headstart.records.record import RunRecord
from headstart.study import places, usage
from headstart.study.places import MeasuredPlaces, Needs, most_of, places_for, room
from headstart.study.pool import Pool
from headstart.study.usage import MIB, Gpu, Machine, gpu_use, taken_by

from .test_pool import job, most_at_once

GIB = 1024 * MIB
CARD = Gpu(0, 80 * GIB, 0.0)


@dataclass
class Stand:
    """In place of a machine: what it has, and what a cell is seen to take."""

    empty: Machine
    taken: tuple[int, float] = (GIB, 0.0)
    gpus: dict[str, Gpu] | None = None


@pytest.fixture
def stand(monkeypatch) -> Stand:
    """Eight cores and 100 GiB."""
    made = Stand(Machine(8, 100 * GIB, {}))
    monkeypatch.setattr(places, "machine", lambda names: made.empty)
    monkeypatch.setattr(places, "cores", lambda: made.empty.cores)
    monkeypatch.setattr(places, "visible_gpus", lambda: list(made.gpus or made.empty.gpus))
    monkeypatch.setattr(places, "shares", lambda n: [list(made.gpus or made.empty.gpus)[:1] for _ in range(n)])
    monkeypatch.setattr(places, "taken_by", lambda pid: made.taken)
    monkeypatch.setattr(places, "gpu_use", lambda names: made.gpus or {})
    monkeypatch.setattr(places, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(places, "LATER_SECONDS", 0.05)
    return made


@dataclass
class A:
    """A cell that runs, for `look`."""

    pid: int
    place: int = 0

    @property
    def process(self) -> Any:
        return self


def settled(most: int, told: list[str], looks: int = 1) -> MeasuredPlaces:
    found = MeasuredPlaces(most, told.append)
    for _ in range(looks):
        found._looked = 0.0
        found.look([A(1)])
    found.settle()
    return found


@pytest.mark.parametrize(
    ("needs", "empty", "expected"),
    [
        (Needs(GIB, 1.0), Machine(2, 10 * GIB, {}), {"processor cores": 2, "memory": 8}),
        (Needs(GIB, 3.9), Machine(8, GIB, {}), {"processor cores": 2, "memory": 1}),  # one at least
        (
            Needs(GIB, 1.1, 10 * GIB, 0.12),
            Machine(16, 100 * GIB, {"0": CARD, "1": Gpu(40 * GIB, 80 * GIB, 0.0)}),
            {"processor cores": 16, "memory": 80, "GPU memory": 6 + 3, "GPU time": 2 * 8},
        ),
        (Needs(GIB, 1.0, 0, 0.0), Machine(4, 10 * GIB, {"0": CARD}), {"processor cores": 4, "memory": 8}),
    ],
)
def test_room_is_for_cores_four_fifths_of_memory_and_a_gpu_busy_all_the_time(needs, empty, expected):
    found = room(needs, empty, list(empty.gpus))
    assert {what: found[what] for what in expected} == expected
    assert min(found.values()) == min(expected.values())


def test_a_gpu_that_cannot_be_asked_has_one_cell():
    slices = ["MIG-a", "MIG-b"]
    assert min(room(Needs(GIB, 1.0, 0, 0.0), Machine(64, 100 * GIB, {}), slices).values()) == 2


def run(jobs: list, auto: MeasuredPlaces) -> list[str]:
    Pool(jobs, auto, "study-x", lambda job: None).run()
    return (jobs[0].folder.parent / "times").read_text().splitlines()


def test_the_first_cell_is_alone_until_it_has_validated_and_then_there_are_as_many_as_fit(tmp_path, stand, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("headstart.study.resources.cores", lambda: 8)
    stand.empty, told = Machine(8, 4 * GIB, {}), []
    lines = run([job(tmp_path / str(n), 0.6) for n in range(6)], MeasuredPlaces(6, told.append))
    assert most_at_once(lines) == 3  # 0.8 * 4 GiB for 1 GiB each
    assert [line.split()[2] for line in lines if line.startswith("start")] == ["1"] + ["2"] * 5
    assert told == [
        "study.jobs=auto: 3 at a time, limited by memory. A cell takes 1,024 MiB of memory, 0.0 processor cores."
    ]


def test_where_cells_fail_before_they_have_shown_anything_the_next_one_is_alone(tmp_path, stand):
    told = []
    jobs = [job(tmp_path / f"bad{n}", 0.1, code=1, monitor="val/none") for n in range(2)]
    jobs += [job(tmp_path / f"good{n}", 0.5, monitor="val/none") for n in range(4)]
    lines = run(jobs, MeasuredPlaces(6, told.append))
    assert most_at_once(lines[:6]) == 1  # two that fail, and the first that ends well
    assert most_at_once(lines) == 3
    assert len(told) == 1


def test_a_cell_that_goes_on_has_shown_nothing_by_what_it_did_before(tmp_path, stand):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "history.csv").write_text("epoch,val/map\n1,0.5\n")
    auto = MeasuredPlaces(2, lambda line: None)
    pool = Pool([job(tmp_path / "0", 5.0)], auto, "study-x", lambda job: None)
    pool._begin = lambda job, place: A(1)  # type: ignore[method-assign]
    pool._start()
    auto.look(pool.running)
    pool._read_history(pool.running[0])
    assert not auto.is_settled
    (tmp_path / "0" / "history.csv").write_text("epoch,val/map\n1,0.5\n2,0.5\n")
    pool._read_history(pool.running[0])
    assert auto.is_settled
    (tmp_path / "0" / "history.csv").unlink()  # as rerun=true does
    pool._read_history(pool.running[0])


def test_of_limits_that_are_equal_the_machine_is_told_before_the_cells(stand):
    told: list[str] = []
    stand.empty = Machine(2, 100 * GIB, {})
    assert settled(2, told).number == 2
    assert "limited by processor cores" in told[0]
    stand.empty = Machine(8, 100 * GIB, {})
    assert settled(2, told).number == 2
    assert "limited by the cells that are left" in told[1]


def test_a_gpu_is_shared_by_as_many_as_its_memory_and_its_time_hold(stand):
    told: list[str] = []
    stand.empty = Machine(64, 500 * GIB, {"0": Gpu(1 * GIB, 81 * GIB, 0.0)})
    stand.gpus = {"0": Gpu(3 * GIB, 81 * GIB, 0.24)}
    assert settled(20, told).number == 4
    assert "limited by GPU time" in told[0]
    assert "2,048 MiB of its GPU, 24% of the GPU's time" in told[0]
    stand.gpus = {"0": Gpu(33 * GIB, 81 * GIB, 0.24)}
    assert settled(20, told).number == 2  # 0.8 * 80 GiB for 32 each
    assert "limited by GPU memory" in told[1]


def test_later_cells_that_need_more_than_the_first_did_are_fewer(stand):
    told: list[str] = []
    stand.empty = Machine(64, 100 * GIB, {"0": CARD})
    stand.gpus = {"0": Gpu(8 * GIB, 80 * GIB, 0.1)}
    auto = settled(20, told)
    assert auto.number == 8
    stand.gpus = {"0": Gpu(24 * GIB, 80 * GIB, 1.0)}  # two of 12 GiB; how busy they are together says nothing new
    auto._looked = 0.0
    auto.look([A(1), A(2)])
    assert auto.number == 5
    stand.gpus, stand.taken = {"0": Gpu(8 * GIB, 80 * GIB, 0.1)}, (40 * GIB, 0.0)
    auto._looked = 0.0
    auto.look([A(3), A(4)])
    assert auto.number == 2
    assert len(told) == 3


@pytest.mark.parametrize(
    ("gpus", "processes", "expected"),
    [
        ((), [1] * 20, 8),
        ((), [1] * 3, 3),
        ((), [1, 2], 2),
        ((), [4] * 9, 2),
        ((), ["auto"] * 9, 8),
        (("0", "1"), [1] * 20, 8),
        (("0", "1", "2", "3"), [2] * 9, 2),
        (("0", "1"), [-1] * 9, 1),
        (("0", "1"), [[0, 1]] * 9, 1),
    ],
)
def test_there_are_no_more_than_cells_and_than_cores_or_gpus_for_their_processes(stand, gpus, processes, expected):
    stand.empty = Machine(8, GIB, dict.fromkeys(gpus, CARD))
    assert most_of(processes) == expected


def test_a_number_is_that_number(stand):
    assert (places_for(3, [1], print).number, places_for("auto", [1], print).number) == (3, 1)


# ------------------------------------------------------------------------------------------- what is measured


def test_what_a_process_and_its_children_take_is_found():
    """Of two processes of 60 MB each."""
    own = "import time; own = bytearray(60_000_000); print(flush=True); time.sleep(30)"
    both = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {own!r}]); {own}"
    with subprocess.Popen([sys.executable, "-c", both], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        memory, seconds = taken_by(process.pid)
        for each in usage._with_descendants(process.pid):
            each.kill()
    assert 120e6 < memory < 160e6
    assert 0 < seconds < 5
    assert taken_by(process.pid) == (0, 0.0)


def test_a_container_that_limits_memory_is_asked_before_the_machine(tmp_path):
    inner = tmp_path / "job" / "step"
    inner.mkdir(parents=True)
    (tmp_path / "own").write_text("1:cpu:/x\n0::/job/step\n")
    assert usage._left_in_groups(tmp_path, tmp_path / "own") == [math.inf]
    for folder, limit in ((inner, "max"), (inner.parent, "1000")):
        (folder / "memory.max").write_text(limit + "\n")
        (folder / "memory.stat").write_text("anon 300\nfile 600\n")
    assert usage._left_in_groups(tmp_path, tmp_path / "own") == [math.inf, 700]
    assert usage._left_in_groups(tmp_path, tmp_path / "none") == [math.inf]


def test_gpus_are_asked_by_number_or_uuid_and_one_that_does_not_answer_is_none(monkeypatch, tmp_path):
    rows = "0, GPU-aa1, 1024, 81920, 25\\nwhat\\n1, GPU-bb2, [N/A], 81920, [N/A]\\n2, GPU-cc3, 0, 40960, 0\\n"
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{rows}'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert gpu_use(["0", "1"]) == {"0": Gpu(GIB, 80 * GIB, 0.25)}
    assert gpu_use(["GPU-cc"]) == {"GPU-cc": Gpu(0, 40 * GIB, 0.0)}
    assert gpu_use(["MIG-1"]) == {}


def test_cells_that_are_finished_need_no_place(monkeypatch, tmp_path, stand):
    from .test_launcher import FakePool, study

    monkeypatch.chdir(tmp_path)
    jobs = study(["seed=0,1,2", "study.jobs=auto"], monkeypatch)
    assert FakePool.places.sharing == 3
    for one in jobs[:2]:
        one.folder.mkdir(parents=True)
        RunRecord("finished").write(one.folder / "record.json")
    study(["seed=0,1,2", "study.jobs=auto"], monkeypatch)
    assert FakePool.places.sharing == 1
