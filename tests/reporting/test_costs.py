"""Cost is weighed right: the front, and the time until a good result."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.reporting.arms import Arm
from headstart.reporting.costs import curve, pareto, reach, seconds_until

from .study_records import make_record

points = st.lists(st.tuples(st.integers(0, 5).map(float), st.integers(0, 5).map(float)), max_size=12)


@given(points)
def test_the_front_is_what_nothing_cheaper_equals(found: list[tuple[float, float]]) -> None:
    """Against the definition, every point with every other."""
    expected = [
        not any((c <= cost and v > value) or (c < cost and v >= value) for c, v in found) for cost, value in found
    ]
    assert pareto(found) == expected


def test_what_was_not_measured_is_on_no_front() -> None:
    assert pareto([(math.nan, 0.9), (1.0, math.nan), (2.0, 0.5)]) == [False, False, True]


def record_with(history: list[float | None], wall_seconds: float | None = 100.0) -> Any:
    record = make_record()[1]
    record.metrics["history"] = [{"epoch": i, "val/map": value} for i, value in enumerate(history)]
    record.cost["wall_seconds"] = wall_seconds
    return record


def test_time_to_a_threshold_is_the_share_of_the_epochs_until_it() -> None:
    record = record_with([0.0, 0.1, None, 0.32, 0.4])  # the last epoch is the 4th
    assert seconds_until(record, "map", 0.3) == 75.0
    assert seconds_until(record, "map", 0.0) == 0.0
    assert seconds_until(record, "map", 0.41) is None


def test_without_a_history_or_a_time_there_is_no_estimate() -> None:
    assert seconds_until(record_with([]), "map", 0.1) is None
    assert seconds_until(record_with([0.0, 0.5], wall_seconds=None), "map", 0.1) is None


def test_runs_that_never_get_there_are_counted_and_not_averaged() -> None:
    runs = [(Path("a"), record_with([0.0, 0.5, 0.5])), (Path("b"), record_with([0.0, 0.1, 0.1]))]
    found = reach(Arm({}, tuple(runs)), "map", 0.45)
    assert (found.seconds, found.runs, found.of) == (50.0, 1, 2)


def test_the_curve_of_a_class_is_found_under_the_name_that_the_history_gives_it() -> None:
    record = make_record()[1]
    record.metrics["history"] = [{"epoch": 1, "val/ap/dog": 0.25, "val/map": 0.5}]
    assert curve(record, "per_class/dog") == [(1, 0.25)]


@pytest.mark.parametrize("metric", ["map", "map_50"])
def test_the_curve_of_a_metric_is_that_of_the_validation(metric: str) -> None:
    record = make_record()[1]
    record.metrics["history"] = [{"epoch": 1, f"val/{metric}": 0.25, "train/loss": 2.0}]
    assert curve(record, metric) == [(1, 0.25)]
