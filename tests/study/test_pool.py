"""Processes of a study: so many at a time, in order of need, ended when the study ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from headstart.records.record import RunRecord
from headstart.runs.lock import locked
from headstart.study.places import Places
from headstart.study.pool import Job, Pool

PROGRAM = """
import os, sys, time
from pathlib import Path
from headstart.records.record import RunRecord
folder, seconds, code, value = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
folder.mkdir(parents=True, exist_ok=True)
with (folder.parent / "times").open("a") as times:
    times.write(f"start {folder.name} {os.environ.get('OMP_NUM_THREADS')} {os.environ['HEADSTART_STUDY']}\\n")
print("said by", folder.name)
(folder / "history.csv").write_text("epoch,val/map\\n0,0.0\\n1,0.25\\n")
time.sleep(seconds)
if code == 0:
    RunRecord("finished", metrics={"val": {"map": value}}).write(folder / "record.json")
with (folder.parent / "times").open("a") as times:
    times.write(f"end {folder.name}\\n")
sys.exit(code)
"""
"""In place of a training: notes when it starts and ends, and leaves a record."""


def job(folder: Path, seconds: float = 0.0, code: int = 0, value: float = 0.5, **settings) -> Job:
    words = [sys.executable, "-c", PROGRAM, str(folder), str(seconds), str(code), str(value)]
    return Job(label=folder.name, words=words, folder=folder, **settings)


def run(jobs: list[Job], places: int = 1) -> list[str]:
    """The lines that the programs wrote."""
    Pool(jobs, Places(places), "study-x", lambda job: None).run()
    return (jobs[0].folder.parent / "times").read_text().splitlines()


def most_at_once(lines: list[str]) -> int:
    now = most = 0
    for line in lines:
        now += 1 if line.startswith("start") else -1
        most = max(most, now)
    return most


@pytest.mark.parametrize("places", [1, 3])
def test_as_many_run_at_once_as_there_are_places(tmp_path, places):
    lines = run([job(tmp_path / str(number), 0.5) for number in range(5)], places)
    assert most_at_once(lines) == places
    assert len(lines) == 10


def test_what_a_run_gave_is_read_from_its_record_and_what_it_said_is_in_its_log(tmp_path):
    jobs = [job(tmp_path / "a", value=0.25), job(tmp_path / "b", code=3)]
    run(jobs)
    assert (jobs[0].status, jobs[0].value) == ("finished", 0.25)
    assert (jobs[1].status, jobs[1].reason) == ("failed", "exit code 3")
    assert jobs[0].log.read_text() == "said by a\n"


def test_a_run_waits_for_its_source_while_others_go_on_and_fails_with_it(tmp_path):
    source, bad = job(tmp_path / "source", 2.0), job(tmp_path / "bad", code=1)
    first = job(tmp_path / "first", needs=source.folder)
    lost = job(tmp_path / "lost", needs=bad.folder)
    other = job(tmp_path / "other")
    lines = run([source, first, bad, lost, other], places=2)
    order = [line for line in lines if line in ("end source", "start other study-x") or line.startswith("start")]
    names = [" ".join(line.split()[:2]) for line in order]
    assert sorted(names) == ["end source", "start bad", "start first", "start other", "start source"]
    assert names.index("start other") < names.index("end source") < names.index("start first")
    assert first.status == "finished"
    assert (lost.status, lost.reason) == ("failed", "its source bad failed: exit code 1")


def test_a_finished_run_is_not_started_and_one_to_be_done_again_is(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        RunRecord("finished", metrics={"val": {"map": 0.75}}, cost={"wall_seconds": 9.0}).write(
            tmp_path / name / "record.json"
        )
    jobs = [job(tmp_path / "a"), job(tmp_path / "b", rerun=True)]
    lines = run(jobs)
    assert [line.split()[1] for line in lines if line.startswith("start")] == ["b"]
    assert (jobs[0].status, jobs[0].value, jobs[0].seconds) == ("finished", 0.75, 9.0)


def test_a_finished_run_of_which_a_file_has_changed_is_looked_at_by_its_process(tmp_path):
    (tmp_path / "a").mkdir()
    RunRecord("finished", metrics={"val": {"map": 0.75}}).write(tmp_path / "a" / "record.json")
    (tmp_path / "a" / "inputs.json").write_text('{"refused": "train has 3 images instead of 2"}')
    refused = job(tmp_path / "a", code=1, unchanged=lambda: False)
    assert [line.split()[1] for line in run([refused]) if line.startswith("start")] == ["a"]
    assert (refused.status, refused.reason) == ("failed", "train has 3 images instead of 2")
    looked_at = job(tmp_path / "a", unchanged=lambda: False)
    run([looked_at])
    assert looked_at.status == "finished"


def test_the_runs_of_a_study_know_when_it_began(tmp_path, monkeypatch):
    monkeypatch.delenv("HEADSTART_STARTED", raising=False)
    pools = [Pool([], Places(1), "study-x", lambda job: None) for _ in range(2)]
    began = [pool.environment["HEADSTART_STARTED"] for pool in pools]
    assert began[0] == began[1]  # a search is one study, in many batches
    assert began[0].endswith("+00:00")


def test_the_same_run_twice_is_trained_once(tmp_path):
    jobs = [job(tmp_path / "a", 0.4), job(tmp_path / "a", 0.4)]
    assert len(run(jobs, places=2)) == 2
    assert [one.status for one in jobs] == ["finished", "finished"]


def test_a_run_that_another_study_has_comes_later(tmp_path, monkeypatch):
    monkeypatch.setattr("headstart.study.pool.LOOK_AGAIN_SECONDS", 0.1)
    busy, free = job(tmp_path / "busy"), job(tmp_path / "free")
    told = []
    pool = Pool([busy, free], Places(1), "study-x", lambda job: told.append((job.label, job.status)) if job else None)
    with locked(busy.folder):
        thread = threading.Timer(0.0, lambda: None)
        thread.start()
        holder = threading.Thread(target=lambda: time.sleep(1.5))
        holder.start()
        released = threading.Timer(1.5, lambda: None)
        released.start()
        started = time.monotonic()
        monkeypatch.setattr(
            "headstart.study.pool.is_busy", lambda folder: folder == busy.folder and time.monotonic() - started < 1.5
        )
        pool.run()
    lines = (tmp_path / "times").read_text().splitlines()
    assert [line.split()[1] for line in lines if line.startswith("start")] == ["free", "busy"]
    assert ("busy", "elsewhere") in told


def test_the_place_of_a_run_that_lost_the_race_for_its_lock_is_free_for_others(tmp_path):
    lost = job(tmp_path / "lost", code=75)
    other = job(tmp_path / "other")
    pool = Pool([lost, other], Places(1), "study-x", lambda job: None)

    def end_elsewhere(changed: Job | None) -> None:
        if changed is other and other.status == "finished":
            RunRecord("finished", metrics={"val": {"map": 0.125}}).write(lost.folder / "record.json")

    pool.tell = end_elsewhere
    pool.run()
    assert (lost.status, lost.value) == ("finished", 0.125)


def test_threads_are_divided_and_the_study_has_a_name(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("HEADSTART_STUDY", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # on a GPU a job's processes are its GPUs
    monkeypatch.setattr("headstart.study.resources.cores", lambda: 8)
    lines = run([job(tmp_path / "a", processes=2), job(tmp_path / "b")], places=2)
    assert sorted(line for line in lines if line.startswith("start")) == ["start a 2 study-x", "start b 4 study-x"]


@pytest.mark.alone
def test_a_watch_sees_each_new_epoch_and_stops_a_run(tmp_path):
    seen = []

    def watch(rows):
        seen.append(rows)
        return True

    stopped = job(tmp_path / "a", 30, watch=watch)
    started = time.monotonic()
    run([stopped, job(tmp_path / "b")])
    assert time.monotonic() - started < 10
    assert seen == [[{"epoch": 0.0, "val/map": 0.0}, {"epoch": 1.0, "val/map": 0.25}]]
    assert stopped.status == "stopped"


@pytest.mark.alone
def test_a_run_that_does_not_end_when_asked_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("headstart.study.pool.GRACE_SECONDS", 0.3)
    deaf = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + PROGRAM
    stopped = job(tmp_path / "a", 60, watch=lambda rows: True)
    stopped.words[2] = deaf
    started = time.monotonic()
    run([stopped])
    assert time.monotonic() - started < 10
    assert stopped.status == "stopped"


STUDY = """
import sys
from pathlib import Path
from headstart.study.places import Places
from headstart.study.pool import Job, Pool
sys.path.insert(0, {tests!r})
folder = Path(sys.argv[1])
child = "import os, time, pathlib; pathlib.Path({pid!r}).write_text(str(os.getpid()));" + {child!r} + "time.sleep(60)"
Pool([Job("a", [sys.executable, "-c", child], folder)], Places(1), "s", lambda job: None).run()
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_run_outlives_its_study(tmp_path, stop):
    pid = tmp_path / "pid"
    child = "from headstart.runs.parent import follow_parent; follow_parent();"
    code = STUDY.format(tests="", pid=str(pid), child=child)
    words = [sys.executable, "-c", code, str(tmp_path / "a")]
    study = subprocess.Popen(words, stderr=subprocess.DEVNULL, preexec_fn=hear_ctrl_c)
    wait_until(lambda: pid.exists() and pid.read_text())
    time.sleep(1.0)
    study.send_signal(stop)
    study.wait(20)
    wait_until(lambda: not is_alive(int(pid.read_text())))


def hear_ctrl_c() -> None:
    """What a shell starts in the background ignores it, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_until(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc").exists() else True
