"""The advice follows from the numbers and says how sure they are."""

from pathlib import Path
from typing import Any

import pytest

from headstart.reporting.advice import advice
from headstart.reporting.comparison import compare_runs
from headstart.reporting.rows import Question

from .study_records import make_record

Values = dict[tuple[str, str], list[float]]


def told(values: Values, **question: Any) -> str:
    """(source, strategy) -> a mAP per seed."""
    runs = []
    for (source, strategy), maps in values.items():
        for seed, ap in enumerate(maps):
            name, record = make_record(source=source, strategy=strategy, seed=seed, ap=ap)
            runs.append((Path(name), record))
    return advice(compare_runs(runs, Question(**question)).targets[0])


SCRATCH = {("scratch", "full"): [0.10, 0.11, 0.12]}


def test_a_cheaper_way_that_may_lose_more_than_the_margin_is_an_open_question() -> None:
    text = told(SCRATCH | {("imagenet", "full"): [0.42, 0.40, 0.44], ("imagenet", "head_only"): [0.40, 0.41, 0.42]})
    # by hand: what is left of full without arm and seed is 0.0067, -0.0133, 0.0067, of the others half of that with the
    # other sign, so full's variance, 0.0002, counts; 3 arms, 4 degrees of freedom: 5.04 sqrt(0.0002 / 3) = 0.041
    assert text.startswith("Use full from imagenet: 0.420 ± 0.050 (3 seeds), the highest mean.")
    assert (
        "Open: head_only from imagenet at 0.35 times the CPU time loses 0.010, and may lose 0.051, more than the "
        "margin of 0.02; about 39 more seeds would settle it." in text
    )
    assert "Not distinguishable from full from imagenet: head_only from imagenet (0.410 ± 0.025; about 39 more" in text
    assert "Sure at 95 %, all arms considered: full from imagenet is better than 1 of 2 others" in text


def test_a_cheaper_way_is_advised_where_it_surely_loses_no_more_than_the_margin() -> None:
    close = {("scratch", "full"): [0.10, 0.08, 0.12], ("imagenet", "full"): [0.42, 0.40, 0.44]}
    close |= {("imagenet", "head_only"): [0.419, 0.398, 0.438]}
    text = told(close)
    assert text.startswith("Use head_only from imagenet: 0.418 ± 0.050 (3 seeds) at 0.35 times the CPU time of full")
    assert "which has the highest mean, 0.420 ± 0.050; against that it loses 0.0" in text
    assert "at most (margin 0.02)." in text
    assert "Open" not in text
    assert told(close, margin=0.0).startswith("Use full from imagenet")


def test_of_open_questions_the_cheapest_that_seems_as_good_is_named() -> None:
    """head_only is cheaper still, but seems to lose 0.05: it is not what to spend seeds on."""
    text = told(
        {
            ("imagenet", "full"): [0.42, 0.38, 0.46],
            ("imagenet", "partial_freeze"): [0.39, 0.41, 0.43],
            ("imagenet", "head_only"): [0.40, 0.31, 0.40],
        }
    )
    assert "Open: partial_freeze from imagenet at 0.7 times the CPU time loses 0.010" in text


def test_a_clear_winner_is_called_one_and_the_cheaper_way_is_named() -> None:
    text = told(SCRATCH | {("imagenet", "full"): [0.42, 0.41, 0.43], ("imagenet", "head_only"): [0.30, 0.29, 0.31]})
    assert text.startswith("Use full from imagenet: 0.420 ± 0.025 (3 seeds), the highest mean.")
    assert "Cheaper: head_only from imagenet, 0.300 ± 0.025 at 0.35 times the CPU time." in text
    assert "full from imagenet is better than every other" in text
    assert "Not distinguishable" not in text
    assert "Negative transfer" not in text


def test_negative_transfer_is_said() -> None:
    text = told({("scratch", "full"): [0.40, 0.41, 0.42], ("noise", "full"): [0.30, 0.31, 0.33]})
    assert text.startswith("Use full from scratch")
    assert "Negative transfer, below scratch: full from noise (-0.097)" in text


@pytest.mark.parametrize("low", [0.39, 0.3])
def test_one_seed_is_a_hint(low: float) -> None:
    text = told({("scratch", "full"): [low], ("imagenet", "full"): [0.4]})
    assert text.startswith("Use full from imagenet: 0.400 (1 seed)")
    assert "a hint, no more" in text
    assert "Sure" not in text
    assert "not distinguishable" not in text.lower()


def test_a_single_arm_is_no_comparison() -> None:
    text = told({("imagenet", "full"): [0.4, 0.41]})
    assert "no comparison" in text
    assert "no run from scratch" in text


def test_pooled_sources_are_not_said_to_lack_scratch() -> None:
    values = {("imagenet", "full"): [0.4, 0.41], ("imagenet", "head_only"): [0.3, 0.31]}
    assert "scratch" not in told(values, group=("strategy",))


def test_arms_with_fewer_labels_are_not_advised() -> None:
    runs = [
        make_record(source="imagenet", seed=seed, fraction=fraction, ap=ap)
        for fraction, ap in ((0.1, 0.9), (1.0, 0.5))
        for seed in range(2)
    ]
    text = advice(compare_runs([(Path(name), record) for name, record in runs], Question()).targets[0])
    assert text.startswith("Use full from imagenet: 0.500")


def test_where_the_cost_of_the_best_is_not_known_none_is_called_cheaper() -> None:
    runs = []
    for strategy, ap in (("full", 0.4), ("head_only", 0.399)):
        for seed in range(3):
            name, record = make_record(strategy=strategy, seed=seed, ap=ap + seed / 100)
            if strategy == "full":
                record.cost = {}
            runs.append((Path(name), record))
    text = advice(compare_runs(runs, Question()).targets[0])
    assert text.startswith("Use full from imagenet: 0.410")
    assert "times the" not in text
