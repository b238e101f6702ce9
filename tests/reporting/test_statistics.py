"""The intervals and verdicts are those of scipy."""

import math
import random
from statistics import NormalDist
from typing import Any

import pytest
from scipy import stats

from headstart.reporting.statistics import interval_95, mean, paired, seeds_needed, t_quantile


def test_the_interval_of_three_seeds_equals_a_hand_computation() -> None:
    # mean 0.42, deviations -0.02, 0, 0.02: s = 0.02; 4.303 * 0.02 / sqrt(3) = 0.04969
    assert mean([0.40, 0.42, 0.44]) == pytest.approx(0.42)
    assert interval_95([0.40, 0.42, 0.44]) == pytest.approx(0.04969, abs=1e-5)


def test_one_value_has_no_interval_and_none_has_no_mean() -> None:
    assert interval_95([0.4]) is None
    assert interval_95([]) is None
    assert math.isnan(mean([]))


def test_quantiles_are_those_of_scipy() -> None:
    for freedom in range(1, 200):
        assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=5e-4)


def test_many_seeds_approach_the_normal_distribution() -> None:
    assert t_quantile(100_000) == pytest.approx(NormalDist().inv_cdf(0.975), abs=1e-4)


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
    assert (found.verdict == "not distinguishable") == (test.pvalue >= 0.05)


def test_seeds_that_only_one_side_has_do_not_count() -> None:
    found = paired({0: 0.5, 1: 0.6, 7: 0.0}, {1: 0.5, 0: 0.4, 8: 1.0})
    assert found is not None
    assert (found.pairs, found.mean) == (2, pytest.approx(0.1))
    assert paired({0: 0.5}, {1: 0.5}) is None


def test_pairing_takes_out_what_the_seeds_share() -> None:
    # seeds differ by 0.1, arms by 0.01: unpaired nothing could be told
    found = paired({0: 0.311, 1: 0.410, 2: 0.512}, {0: 0.300, 1: 0.400, 2: 0.501})
    assert found is not None
    assert found.verdict == "better"
    unpaired: Any = stats.ttest_ind([0.311, 0.410, 0.512], [0.300, 0.400, 0.501])
    assert unpaired.pvalue > 0.9


def power(pairs: int, ratio: float) -> float:
    """Of the paired t-test at 5 %, two-sided, for a difference of `ratio` standard deviations: noncentral t."""
    shift, edge = ratio * math.sqrt(pairs), stats.t.ppf(0.975, pairs - 1)
    return float(stats.nct.sf(edge, pairs - 1, shift) + stats.nct.cdf(-edge, pairs - 1, shift))


@pytest.mark.parametrize("ratio", [0.25, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0])
def test_so_many_seeds_find_the_difference_in_four_of_five_studies(ratio: float) -> None:
    pairs = seeds_needed(ratio * 0.02, 0.02)
    assert pairs is not None
    assert power(pairs, ratio) > 0.8
    assert power(pairs - 1, ratio) < 0.802


def test_how_many_more_seeds_counts_from_those_there_are() -> None:
    found = paired({0: 0.42, 1: 0.40, 2: 0.44}, {0: 0.40, 1: 0.40, 2: 0.40})
    assert found is not None  # 0.02, 0, 0.04: mean 0.02, deviation 0.02, so 10 seeds (power 0.803 by scipy)
    assert found.verdict == "not distinguishable"
    assert found.more_seeds == 7


def test_no_number_of_seeds_is_promised_for_no_difference() -> None:
    found = paired({0: 0.41, 1: 0.39, 2: 0.40}, {0: 0.40, 1: 0.40, 2: 0.40})
    assert found is not None
    assert found.more_seeds is None


def test_one_pair_tells_nothing() -> None:
    found = paired({0: 0.9}, {0: 0.1})
    assert found is not None
    assert (found.verdict, found.half, found.more_seeds) == ("not distinguishable", None, None)
