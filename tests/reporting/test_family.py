"""Verdicts are those of Tukey and Holm, computed by other means; where nothing differs, next to nothing is said."""

import math
import random
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy import stats

from headstart.reporting.family import Family, holm
from headstart.reporting.layout import make_layout
from headstart.reporting.verdicts import Holm, Judged, Tukey, seeds_needed

Values = dict[str, dict[int, float]]


def drawn(arms: int, seeds: int, seed: int = 0, scatter: Mapping[int, float] | None = None) -> Values:
    """The seed moves all by 0.05, chance each by 0.01, or by what `scatter` gives for its number."""
    draw = random.Random(seed)
    level = [0.4 + draw.gauss(0, 0.05) for _ in range(seeds)]
    deviation = {arm: (scatter or {}).get(arm, 1.0) * 0.01 for arm in range(arms)}
    return {f"arm {a}": {s: level[s] + draw.gauss(0, deviation[a]) for s in range(seeds)} for a in range(arms)}


def drawn_alike(arms: int, seeds: int) -> Values:
    """The first draw whose variances pass the check, as nine of ten do."""
    draws = (drawn(arms, seeds, seed) for seed in range(100))
    return next(values for values in draws if (layout := make_layout(values)) is not None and layout.alike)


def judged(values: Values, one: str, other: str) -> Judged:
    found = Family(values).judge(one, other)
    assert found is not None
    return found


def residuals(values: Values) -> dict[str, np.ndarray]:
    """Of the linear model arm + seed, by least squares; of each arm."""
    table = np.array([list(by_seed.values()) for by_seed in values.values()])
    arms, seeds = table.shape
    design = np.array([np.r_[np.eye(arms)[a], np.eye(seeds)[s]] for a in range(arms) for s in range(seeds)])
    left = table.ravel() - design @ np.linalg.lstsq(design, table.ravel(), rcond=None)[0]
    return dict(zip(values, left.reshape(table.shape), strict=True))


@pytest.mark.parametrize(("arms", "seeds"), [(3, 3), (5, 4), (12, 3), (12, 5)])
def test_pairs_are_judged_by_tukey_on_the_layout(arms: int, seeds: int) -> None:
    values, freedom = drawn_alike(arms, seeds), (arms - 1) * (seeds - 1)
    squares = {name: float((left**2).sum()) for name, left in residuals(values).items()}
    pooled = sum(squares.values()) / freedom
    critical = stats.studentized_range.ppf(0.95, arms, freedom)
    for one, other in combinations(values, 2):
        found = judged(values, one, other)
        difference = np.mean(list(values[one].values())) - np.mean(list(values[other].values()))
        own = max(squares[one], squares[other]) * arms / freedom
        error = math.sqrt(max(pooled, own) / seeds)
        assert found.mean == pytest.approx(difference)
        assert found.p == pytest.approx(stats.studentized_range.sf(abs(difference) / error, arms, freedom), abs=1e-6)
        assert found.wide == pytest.approx(critical * error, rel=1e-5)


def test_an_arm_that_scatters_more_is_not_judged_by_the_calm_of_the_others() -> None:
    layout = make_layout(values := drawn_alike(5, 4))
    assert layout is not None
    wild = max(layout.scatter, key=lambda name: layout.scatter[name])
    assert layout.scatter[wild] > layout.pooled
    assert layout.variance(wild, next(name for name in values if name != wild)) == layout.scatter[wild]


def test_the_check_of_variances_is_exact_where_they_are_alike() -> None:
    chances = [make_layout(drawn(6, 4, seed)).chance_of_scatter for seed in range(2000)]  # pyright: ignore
    for level in (0.05, 0.1):  # Bonferroni's bound is all but reached
        assert np.mean([chance <= level for chance in chances]) == pytest.approx(level, abs=4 * math.sqrt(level / 2000))


def test_where_variances_differ_the_greatest_counts_for_all() -> None:
    values = drawn(8, 5, scatter={0: 30.0})
    layout = make_layout(values)
    assert layout is not None
    assert not layout.alike
    assert {layout.variance(*pair) for pair in combinations(values, 2)} == {layout.scatter["arm 0"]}
    assert "the greatest variance among them counts for all, for their variances" in Family(values).method


def test_two_seeds_do_not_show_whether_variances_are_alike() -> None:
    assert not make_layout(drawn(4, 2)).alike  # pyright: ignore[reportOptionalMemberAccess]
    assert "two seeds do not show" in Family(drawn(4, 2)).method


def test_enough_seeds_let_every_pair_have_its_own_deviation() -> None:
    family = Family(drawn(8, 6, scatter={0: 30.0}))
    assert family.rule == Holm(28)
    assert "their variances are not alike" in family.method


def by_hand(p_values: Mapping[Any, float]) -> dict[Any, float]:
    """Holm (1979) as it is written: reject from the smallest on, until one fails; the level at which each is."""
    order, adjusted = sorted(p_values, key=lambda key: p_values[key]), {}
    for rank, key in enumerate(order):
        adjusted[key] = min(1.0, max((len(order) - i) * p_values[order[i]] for i in range(rank + 1)))
    return adjusted


def test_without_the_same_seeds_pairs_are_judged_by_holm_over_paired_t_tests() -> None:
    values = drawn(5, 6)
    del values["arm 2"][3]
    p_values = {}
    for one, other in combinations(values, 2):
        shared = sorted(values[one].keys() & values[other].keys())
        test: Any = stats.ttest_rel([values[one][s] for s in shared], [values[other][s] for s in shared])
        p_values[one, other] = test.pvalue
    expected = by_hand(p_values)
    for (one, other), p in expected.items():
        assert judged(values, one, other).p == pytest.approx(p, rel=1e-6)
        assert judged(values, other, one).p == judged(values, one, other).p
    assert "not every arm has the same seeds" in Family(values).method


def test_holm_is_the_worked_example() -> None:
    # 0.01 * 4, 0.02 * 3 = 0.06, 0.03 * 2 = 0.06, 0.2
    found = holm({("a", "b"): 0.03, ("a", "c"): 0.01, ("b", "c"): 0.2, ("c", "d"): 0.02})
    assert found == pytest.approx({("a", "c"): 0.04, ("c", "d"): 0.06, ("a", "b"): 0.06, ("b", "c"): 0.2})


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_a_single_pair_is_a_paired_t_test(seeds: int) -> None:
    values = drawn(2, seeds)
    found = judged(values, "arm 0", "arm 1")
    test: Any = stats.ttest_rel(list(values["arm 0"].values()), list(values["arm 1"].values()))
    assert found.p == pytest.approx(test.pvalue, rel=1e-6)
    assert found.wide == pytest.approx(found.half)


def test_pairing_takes_out_what_the_seeds_share() -> None:
    # seeds differ by 0.1, arms by 0.01: unpaired nothing could be told
    values = {"a": {0: 0.311, 1: 0.410, 2: 0.512}, "b": {0: 0.300, 1: 0.400, 2: 0.501}}
    assert judged(values, "a", "b").verdict == "better"
    assert judged(values, "b", "a").verdict == "worse"
    unpaired: Any = stats.ttest_ind(list(values["a"].values()), list(values["b"].values()))
    assert unpaired.pvalue > 0.9


def test_an_arm_with_one_seed_says_nothing_and_takes_nothing_from_the_others() -> None:
    values = drawn(4, 3)
    alone = judged(values | {"new": {0: 0.9}}, "new", "arm 0")
    assert (alone.verdict, alone.p, alone.half, alone.wide, alone.more_seeds) == ("not distinguishable", *[None] * 4)
    assert judged(values | {"new": {0: 0.9}}, "arm 1", "arm 0") == judged(values, "arm 1", "arm 0")
    assert Family({"a": {0: 0.1}, "b": {0: 0.9}}).method == ""
    assert Family({"a": {0: 0.1}, "b": {1: 0.9}}).judge("a", "b") is None


def test_equal_numbers_are_no_difference_and_a_difference_without_noise_is_sure() -> None:
    same = {name: {0: 0.4, 1: 0.5} for name in "abc"}
    assert judged(same, "a", "b").p == pytest.approx(1)
    parallel = {name: {0: 0.25 + shift, 1: 0.5 + shift} for name, shift in (("a", 0.0), ("b", 0.125), ("c", 0.25))}
    assert judged(parallel, "b", "a").verdict == "better"


# ------------------------------------------------------------------------------------------- how many seeds


def power_of_a_pair(pairs: int, ratio: float) -> float:
    """Of the paired t-test at 5 %, two-sided, for a difference of `ratio` standard deviations: noncentral t."""
    shift, edge = ratio * math.sqrt(pairs), stats.t.ppf(0.975, pairs - 1)
    return float(stats.nct.sf(edge, pairs - 1, shift) + stats.nct.cdf(-edge, pairs - 1, shift))


@pytest.mark.parametrize("ratio", [0.25, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0])
def test_so_many_seeds_find_the_difference_in_four_of_five_studies(ratio: float) -> None:
    pairs = seeds_needed(ratio * 0.02, 0.02, Holm(1))
    assert pairs is not None
    assert power_of_a_pair(pairs, ratio) > 0.798
    assert power_of_a_pair(pairs - 1, ratio) < 0.802


@pytest.mark.parametrize(("arms", "ratio"), [(3, 0.5), (3, 2.0), (12, 0.5), (12, 1.0), (12, 2.5)])
def test_so_many_seeds_find_one_pair_of_many_in_four_of_five_studies(arms: int, ratio: float) -> None:
    def power(seeds: int) -> float:
        freedom = (arms - 1) * (seeds - 1)
        edge = stats.studentized_range.ppf(0.95, arms, freedom) / math.sqrt(2)
        return float(stats.nct.sf(edge, freedom, ratio * math.sqrt(seeds)))

    seeds = seeds_needed(ratio * 0.02, 0.02, Tukey(arms))
    assert seeds is not None
    assert power(seeds) > 0.785
    assert power(seeds - 1) < 0.81


def test_how_many_more_seeds_counts_from_those_there_are() -> None:
    # 0.02, 0, 0.04: mean 0.02, deviation 0.02, so 10 seeds (power 0.803 by scipy)
    found = judged({"a": {0: 0.42, 1: 0.40, 2: 0.44}, "b": {0: 0.40, 1: 0.40, 2: 0.40}}, "a", "b")
    assert found.verdict == "not distinguishable"
    assert found.more_seeds == 7
    # to be within 0.04 behind: 0.06 to go, 3 deviations: 4 seeds (power 0.94; 3: 0.64)
    assert found.more_to_equal(0.04) == 1
    assert judged({"a": {0: 0.42}, "b": {0: 0.4}}, "a", "b").more_to_equal(0.04) is None


def test_no_number_of_seeds_is_promised_for_no_difference() -> None:
    found = judged({"a": {0: 0.41, 1: 0.39, 2: 0.40}, "b": {0: 0.40, 1: 0.40, 2: 0.40}}, "a", "b")
    assert found.more_seeds is None


def test_the_loss_is_at_most_the_upper_end_of_its_simultaneous_interval() -> None:
    values = drawn(6, 5)
    found = judged(values, "arm 0", "arm 1")
    assert found.wide is not None
    assert found.loss_at_most == pytest.approx(max(0.0, -found.mean + found.wide))
