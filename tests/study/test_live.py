"""The view of a study: what is done, what runs, what is best, and how long it will take."""

import io
from pathlib import Path

import pytest

from headstart.say import SafeConsole
from headstart.study import live
from headstart.study.live import View, clock, seconds_left
from headstart.study.places import Places
from headstart.study.pool import Job


def job(label: str, status: str, **settings) -> Job:
    return Job(label, [], Path(label), status=status, **settings)


JOBS = [
    job("seed=0", "finished", value=0.25, seconds=100.0, kind="full"),
    job("seed=1", "finished", value=0.5, seconds=140.0, kind="full"),
    job("seed=2", "running", seconds=70.0, kind="full", epochs=8, history=[{"epoch": 3.0, "val/map": 0.125}]),
    job("seed=3", "waiting", kind="head"),
    job("seed=4", "failed", reason="UserError: [no] image"),
]


@pytest.mark.parametrize(("places", "expected"), [(1, 50.0 + 120.0), (2, 85.0), (9, 85.0)])
def test_the_time_left_comes_of_what_finished_runs_took(places, expected):
    assert seconds_left(JOBS, places) == pytest.approx(expected)  # of head nothing is known: it counts as the others


def test_runs_of_one_kind_tell_how_long_such_a_run_takes():
    assert seconds_left([*JOBS, job("x", "finished", seconds=10.0, kind="head")], 1) == pytest.approx(50.0 + 10.0)


def test_nothing_is_known_before_the_first_end_and_nothing_is_left_after_the_last():
    assert seconds_left(JOBS[2:4], 1) is None
    assert seconds_left(JOBS[:2], 1) is None


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (62, "1:02"), (3723, "1:02:03")])
def test_a_time_reads_as_on_a_clock(seconds, text):
    assert clock(seconds) == text


def shown(monkeypatch, terminal: bool) -> str:
    out = io.StringIO()
    monkeypatch.setattr(live, "console", SafeConsole(file=out, force_terminal=terminal, width=100, highlight=False))
    view = View(JOBS, Places(1), {job.label: "kangaroo" for job in JOBS})
    with view:
        for one in JOBS:
            view.tell(one)
    return out.getvalue()


def test_a_terminal_shows_counts_progress_and_the_best(monkeypatch):
    text = shown(monkeypatch, terminal=True)
    assert "2 finished · 1 failed · 1 running · 1 waiting · about 2:50 left" in text
    assert "epoch 3/8  mAP 0.125" in text
    assert "best on kangaroo: 0.500  seed=1" in text


def test_elsewhere_there_is_a_line_an_event(monkeypatch):
    lines = shown(monkeypatch, terminal=False).splitlines()
    assert lines == [
        "[3/5] finished  seed=0  mAP 0.250, 1:40",
        "[3/5] finished  seed=1  mAP 0.500, 2:20",
        "started   seed=2",
        "[3/5] failed    seed=4  UserError: [no] image",
    ]
