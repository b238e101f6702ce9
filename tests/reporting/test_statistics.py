"""Means, intervals and paired differences are those of scipy; verdicts are tested in test_family.py."""

import math
import random
from typing import Any

import pytest
from scipy import stats

from headstart.reporting.statistics import interval_95, mean, paired


def test_the_interval_of_three_seeds_equals_a_hand_computation() -> None:
    # mean 0.42, deviations -0.02, 0, 0.02: s = 0.02; 4.303 * 0.02 / sqrt(3) = 0.04969
    assert mean([0.40, 0.42, 0.44]) == pytest.approx(0.42)
    assert interval_95([0.40, 0.42, 0.44]) == pytest.approx(0.04969, abs=1e-5)


def test_one_value_has_no_interval_and_none_has_no_mean() -> None:
    assert interval_95([0.4]) is None
    assert interval_95([]) is None
    assert math.isnan(mean([]))


@pytest.mark.parametrize("size", [2, 3, 5, 12])
def test_intervals_and_paired_differences_are_those_of_scipy(size: int) -> None:
    draw = random.Random(size)
    ours = [draw.gauss(0.4, 0.03) for _ in range(size)]
    theirs = [value - draw.gauss(0.02, 0.02) for value in ours]
    low, high = stats.t.interval(0.95, size - 1, loc=mean(ours), scale=stats.sem(ours))
    assert interval_95(ours) == pytest.approx((high - low) / 2, rel=1e-3)
    found = paired(dict(enumerate(ours)), dict(enumerate(theirs)))
    test: Any = stats.ttest_rel(ours, theirs)
    span = test.confidence_interval(0.95)
    assert found is not None
    assert found.half is not None
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((span.low, span.high), rel=1e-3)


def test_seeds_that_only_one_side_has_do_not_count() -> None:
    found = paired({0: 0.5, 1: 0.6, 7: 0.0}, {1: 0.5, 0: 0.4, 8: 1.0})
    assert found is not None
    assert (found.pairs, found.mean) == (2, pytest.approx(0.1))
    assert paired({0: 0.5}, {1: 0.5}) is None
