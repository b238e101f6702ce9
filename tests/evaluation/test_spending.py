"""What parts of a run cost: each second once, and through a resume."""

import pytest

from headstart.evaluation import spending
from headstart.evaluation.spending import Spending


@pytest.fixture
def clock(monkeypatch):
    """Wall time, set by hand; two processors are busy."""
    now = [100.0]
    monkeypatch.setattr(spending.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(spending, "cpu_seconds", lambda: 2 * now[0])
    return now


def spend(clock, seconds):
    clock[0] += seconds


def test_time_of_a_block_within_a_block_counts_for_the_inner_one_alone(clock):
    found = Spending()
    with found.on("outer"):
        spend(clock, 3)
        with found.on("inner"):
            spend(clock, 5)
        spend(clock, 1)
    spend(clock, 50)
    assert found.as_dict() == {
        "outer": {"wall_seconds": 4.0, "cpu_seconds": 8.0},
        "inner": {"wall_seconds": 5.0, "cpu_seconds": 10.0},
    }


def test_what_was_spent_before_an_interruption_adds_up(clock):
    first, second = Spending(), Spending()
    with first.on("recalibration"):
        spend(clock, 3)
    second.load_state_dict(first.state_dict())
    with second.on("recalibration"):
        spend(clock, 4)
    assert second.as_dict() == {"recalibration": {"wall_seconds": 7.0, "cpu_seconds": 14.0}}


def fail(found, clock):
    with found.on("mixtures"):
        spend(clock, 2)
        raise ValueError("broken")


def test_a_block_that_fails_is_paid_for(clock):
    found = Spending()
    with pytest.raises(ValueError, match="broken"):
        fail(found, clock)
    assert found.as_dict()["mixtures"]["wall_seconds"] == 2.0
