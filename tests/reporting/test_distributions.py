"""Tails and quantiles are those of scipy."""

import pytest
from scipy import stats

from headstart.reporting.distributions import beta_tail, range_quantile, range_tail, t_quantile, t_tail


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (0.5, 1), (1, 10), (2, 20), (0.5, 100), (5, 3), (30, 300)])
def test_tails_of_beta_are_those_of_scipy(a: float, b: float) -> None:
    for x in (0.0, 1e-6, 0.01, 0.09, 0.3, 0.5, 0.9, 0.999, 1.0):
        assert beta_tail(x, a, b) == pytest.approx(stats.beta.sf(x, a, b), rel=1e-9, abs=1e-14)


def test_tails_and_quantiles_of_student_are_those_of_scipy() -> None:
    for freedom in (1, 2, 3, 10, 57, 200, 100_000):
        for t in (0.0, 0.3, 2.0, 12.7, 300.0):
            assert t_tail(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-8, abs=1e-14)
        for tail in (0.05, 0.4, 1e-3, 0.05 / 1225):
            assert t_quantile(tail, freedom) == pytest.approx(stats.t.isf(tail / 2, freedom), rel=1e-6)


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
@pytest.mark.parametrize("arms", [3, 5, 12, 40, 200])
def test_tails_and_quantiles_of_the_studentized_range_are_those_of_scipy(arms: int, seeds: int) -> None:
    freedom = (arms - 1) * (seeds - 1)  # that of arms by seeds, seeds as blocks
    for q in (0.5, 2, 3.5, 5, 8, 40):
        assert range_tail(q, arms, freedom) == pytest.approx(stats.studentized_range.sf(q, arms, freedom), abs=2e-6)
    expected = stats.studentized_range.ppf(0.95, arms, freedom)
    assert range_quantile(0.05, arms, freedom) == pytest.approx(expected, rel=2e-5)


def test_the_studentized_range_is_that_of_the_printed_tables() -> None:
    # upper 5 % points: Pearson and Hartley, Biometrika Tables for Statisticians, table 29
    for arms, freedom, point in ((3, 4, 5.04), (5, 10, 4.65), (10, 20, 5.01), (20, 60, 5.24)):
        assert range_quantile(0.05, arms, freedom) == pytest.approx(point, abs=0.006)
