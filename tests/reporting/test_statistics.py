"""The interval is the one of the textbooks."""

import math
from statistics import NormalDist

import pytest

from headstart.reporting.statistics import T_QUANTILES, interval_95, mean, t_quantile


def test_the_interval_of_three_seeds_equals_a_hand_computation() -> None:
    # mean 0.42, deviations -0.02, 0, 0.02: s = 0.02; 4.303 * 0.02 / sqrt(3) = 0.04969
    assert mean([0.40, 0.42, 0.44]) == pytest.approx(0.42)
    assert interval_95([0.40, 0.42, 0.44]) == pytest.approx(0.04969, abs=1e-5)


def test_one_value_has_no_interval_and_none_has_no_mean() -> None:
    assert interval_95([0.4]) is None
    assert interval_95([]) is None
    assert math.isnan(mean([]))


def cumulative_t(t: float, freedom: int) -> float:
    """Student's distribution by integrating its density (Simpson's rule, 4000 steps from 0)."""
    constant = math.gamma((freedom + 1) / 2) / (math.sqrt(freedom * math.pi) * math.gamma(freedom / 2))
    steps, total = 4000, 0.0
    for i in range(steps + 1):
        weight = 1 if i in (0, steps) else 4 if i % 2 else 2
        total += weight * constant * (1 + (t * i / steps) ** 2 / freedom) ** (-(freedom + 1) / 2)
    return 0.5 + total * t / steps / 3


@pytest.mark.parametrize("freedom", [*range(1, len(T_QUANTILES) + 1), 11, 15, 29, 100])
def test_quantiles_leave_a_fortieth_of_the_distribution_above(freedom: int) -> None:
    assert cumulative_t(t_quantile(freedom), freedom) == pytest.approx(0.975, abs=3e-5)


def test_many_seeds_approach_the_normal_distribution() -> None:
    assert t_quantile(100_000) == pytest.approx(NormalDist().inv_cdf(0.975), abs=1e-4)
