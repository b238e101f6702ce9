"""What `headstart compare` says is true. No effect: next to nothing is said. A known effect: it is found as often as
theory has it. A cheaper way is advised where it is as good, and hardly ever where it is not."""

import csv
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from headstart.reporting.advice import advice
from headstart.reporting.comparison import Target
from headstart.reporting.verdicts import Tukey, seeds_needed

from .simulation import Truth, advises, compared, equal, records, says_anything, share, studies, verdict
from .study_records import write

ALIKE = [0.01] * 12
SPREAD = [0.01 * 4 ** (arm / 11) for arm in range(12)]
"""Deviations from 1 to 4."""
ONE = [0.01] * 11 + [0.03]
"""One arm scatters three times as much: what pooled variances hide most."""


def at_most(level: float, number: int) -> float:
    """What one simulation of a thousand exceeds where the truth is `level`: 7.1 % of 1000 studies, 9.8 % of 200."""
    return level + float(stats.norm.isf(0.001)) * math.sqrt(level * (1 - level) / number)


@pytest.mark.parametrize(("seeds", "noise"), [pytest.param(2, ONE, marks=pytest.mark.slow), (3, SPREAD)])
def test_of_twelve_equal_arms_nothing_is_said_in_19_of_20_studies(seeds: int, noise: Sequence[float]) -> None:
    """200 studies, at most 9.8 % of which may say something; the whole of it is below."""
    assert share(equal(seeds, noise), 200, says_anything) <= at_most(0.05, 200)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [ALIKE, SPREAD, ONE], ids=["alike", "spread", "one"])
@pytest.mark.parametrize("seeds", [2, 3, 5, 6])
def test_of_twelve_equal_arms_nothing_is_said_in_950_of_1000_studies(seeds: int, noise: Sequence[float]) -> None:
    assert share(equal(seeds, noise), 1000, says_anything) <= at_most(0.05, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [ALIKE, SPREAD])
def test_of_arms_without_the_same_seeds_nothing_is_said_in_950_of_1000_studies(noise: Sequence[float]) -> None:
    assert share(equal(5, noise, lacking=1), 1000, says_anything) <= at_most(0.05, 1000)


# ------------------------------------------------------------------------------------------------ known effects


def test_a_difference_of_two_arms_is_found_with_the_power_of_the_paired_t_test() -> None:
    number, seeds, ratio = 400, 5, 2.0  # in deviations of a difference: noncentral t
    edge, shift = stats.t.ppf(0.975, seeds - 1), ratio * math.sqrt(seeds)
    power = float(stats.nct.sf(edge, seeds - 1, shift))
    truth = Truth([0.4, 0.4 + ratio * 0.01 * math.sqrt(2)], [0.01, 0.01], seeds)
    found = share(truth, number, lambda target: verdict(target, 1, 0) == "better")
    assert found == pytest.approx(power, abs=3.3 * math.sqrt(power * (1 - power) / number))
    assert 0.7 < power < 0.95


def reference(arms: int, seeds: int, effect: float, number: int = 20_000) -> tuple[float, float]:
    """How often Tukey's test finds that the last arm differs from the first, `effect` deviations of a run apart: as it
    stands in the books, with one variance for all, and with the greatest of that and of the two arms' own, or, where
    Cochran's test calls the variances unlike, of all arms'. By numpy and scipy."""
    draw = np.random.default_rng(1)
    maps = draw.normal(size=(number, arms, seeds))
    maps[:, -1] += effect
    means, freedom = maps.mean(2), (arms - 1) * (seeds - 1)
    left = maps - means[:, :, None] - maps.mean(1)[:, None] + maps.mean((1, 2))[:, None, None]
    squares = (left**2).sum(2)
    pooled, own = squares.sum(1) / freedom, squares * arms / freedom
    largest = (arms / (arms - 1) * squares / squares.sum(1, keepdims=True)).max(1)
    unlike = arms * stats.beta.sf(largest, (seeds - 1) / 2, (arms - 2) * (seeds - 1) / 2) <= 0.1
    careful = np.maximum(pooled, np.where(unlike, own.max(1), np.maximum(own[:, 0], own[:, -1])))
    edge = stats.studentized_range.ppf(0.95, arms, freedom)
    apart = np.abs(means[:, -1] - means[:, 0])
    return float((apart > edge * np.sqrt(pooled / seeds)).mean()), float(
        (apart > edge * np.sqrt(careful / seeds)).mean()
    )


@pytest.mark.parametrize(("arms", "seeds", "effect"), [(4, 3, 4.5), pytest.param(12, 5, 4.0, marks=pytest.mark.slow)])
def test_a_difference_among_many_arms_is_found_as_often_as_a_reference_finds_it(
    arms: int, seeds: int, effect: float
) -> None:
    number = 300
    truth = Truth([0.4] * (arms - 1) + [0.4 + 0.01 * effect], [0.01] * arms, seeds)
    found = share(truth, number, lambda target: verdict(target, arms - 1, 0) == "better")
    _, careful = reference(arms, seeds, effect)
    assert found == pytest.approx(careful, abs=3.3 * math.sqrt(careful * (1 - careful) / number))
    assert 0.5 < careful < 0.95


@pytest.mark.parametrize(("arms", "seeds"), [(3, 3), (12, 3), (12, 5)])
def test_caution_about_variances_costs_less_than_half_as_much_again(arms: int, seeds: int) -> None:
    freedom = (arms - 1) * (seeds - 1)
    edge = stats.studentized_range.ppf(0.95, arms, freedom) / math.sqrt(2)
    effect = (edge + stats.t.ppf(0.8, freedom)) * math.sqrt(2 / seeds)
    assert reference(arms, seeds, effect)[0] == pytest.approx(0.8, abs=0.03)
    assert reference(arms, seeds, 1.5 * effect)[1] > 0.8


def test_a_clear_winner_is_surely_better_than_every_other() -> None:
    truth = Truth([0.3] * 5 + [0.42], [0.01] * 6, 3)
    words = "Sure at 95 %, all arms considered: full from source05 is better than every other."
    assert share(truth, 100, lambda target: words in advice(target)) > 0.95


# ------------------------------------------------------------------------------------------------ ties and the advice


def calls_it_open(target: Target) -> bool:
    text = advice(target)
    return "Not distinguishable from full from" in text and "Sure" not in text


def test_ties_are_called_open() -> None:
    assert share(equal(3, [0.02] * 6), 200, calls_it_open) >= 1 - at_most(0.05, 200)


def test_an_arm_that_is_35_percent_worse_is_not_advised_for_being_cheap() -> None:
    """0.26 against 0.40, two seeds: no test with so few can prove it worse, and so it was advised."""
    truth = Truth([0.1, 0.40, 0.26], [0.05] * 3, 2)
    assert share(truth, 300, lambda target: advises(target, 2)) <= at_most(0.05, 300)


def test_a_cheaper_arm_that_loses_just_more_than_the_margin_is_hardly_ever_advised() -> None:
    truth = Truth([0.1, 0.40, 0.379], [0.004] * 3, 5)
    assert share(truth, 300, lambda target: advises(target, 2)) <= at_most(0.05, 300)


def test_a_cheaper_arm_that_is_as_good_is_advised_once_there_are_seeds_enough() -> None:
    for noise, seeds, least, most in ((0.004, 5, 0.95, 1.0), (0.02, 2, 0.0, 0.6)):
        truth = Truth([0.1, 0.400, 0.399], [noise] * 3, seeds)
        assert least <= share(truth, 200, lambda target: advises(target, 2)) <= most


def test_what_is_open_is_named_with_the_seeds_that_settle_it() -> None:
    truth = Truth([0.1, 0.40, 0.395], [0.008] * 3, 3)
    target = next(t for t in compared(truth, 50) if advises(t, 1))
    text = advice(target)
    assert "Open: full from source02 at 1 times the CPU time loses 0.0" in text
    assert "more than the margin of 0.02; about " in text
    assert "would settle it" in text


@pytest.mark.slow
def test_the_seeds_that_are_said_to_settle_it_do() -> None:
    """Loss 0.005 of a margin of 0.02, deviation 0.01: so many seeds show it in four of five studies, or nearly."""
    seeds = seeds_needed(0.015, 0.01 * math.sqrt(2), Tukey(3))
    assert seeds is not None
    truth = Truth([0.1, 0.40, 0.395], [0.01] * 3, seeds)
    assert 0.65 < share(truth, 400, lambda target: advises(target, 2)) < 0.9


# ------------------------------------------------------------------------------------------------ through the command


def command(folder: Path, *words: str) -> str:
    arguments = [sys.executable, "-m", "headstart", "compare", str(folder), *words]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=True)
    return " ".join(result.stdout.split())


def written(truth: Truth, folder: Path, seed: int = 0) -> Path:
    for path, record in next(studies(truth, 1, seed)):
        write(folder, path.name, record)
    return folder


def verdicts(folder: Path) -> set[str]:
    with (folder / "comparison.csv").open() as text:
        return {row["difference_verdict"] for row in csv.DictReader(text)} - {""}


def test_the_command_says_what_the_simulations_say(tmp_path: Path) -> None:
    for seed in range(3):
        folder = written(equal(3, ALIKE), tmp_path / f"equal {seed}", seed)
        text = command(folder)
        assert verdicts(folder) == {"not distinguishable"}
        assert "Sure at" not in text
        assert "Tukey's studentized range over 12 arms" in text
    folder = written(Truth([0.2] + [0.4] * 3, [0.01] * 4, 3), tmp_path / "better")
    assert "is better than 1 of 3 others" in command(folder)
    assert verdicts(folder) == {"better"}


def test_the_margin_is_the_users(tmp_path: Path) -> None:
    folder = written(Truth([0.1, 0.40, 0.37], [0.002] * 3, 5), tmp_path / "study")
    assert "Use full from source01" in command(folder)
    text = command(folder, "margin=0.05")
    assert "Use full from source02" in text
    assert "at most (margin 0.05)" in text


def test_records_of_a_simulation_lack_what_they_should() -> None:
    assert len(records(equal(5, ALIKE, lacking=1))) == 59
