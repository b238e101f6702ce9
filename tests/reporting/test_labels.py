"""What labels are worth, read off the curves."""

import math
from pathlib import Path
from typing import Any

import pytest

from headstart.reporting.comparison import Target, compare_runs
from headstart.reporting.labels import crossing
from headstart.reporting.rows import Question

from .study_records import make_record

LEVELS = {
    ("scratch", 0.1): 0.10,
    ("scratch", 0.25): 0.20,
    ("scratch", 1.0): 0.30,
    ("imagenet", 0.1): 0.25,
    ("imagenet", 0.25): 0.35,
    ("imagenet", 1.0): 0.40,
    ("noise", 0.1): 0.05,
    ("noise", 0.25): 0.10,
    ("noise", 1.0): 0.20,
}


def target_of(levels: dict[tuple[str, float], float], spread: float = 0.0, **changes: Any) -> Target:
    runs = []
    for (source, fraction), ap in levels.items():
        for seed in range(3):
            name, record = make_record(
                source=source, fraction=fraction, seed=seed, ap=ap + spread * (seed - 1), **changes
            )
            runs.append((Path(name), record))
    return compare_runs(runs, Question()).targets[0]


def test_a_curve_has_the_images_of_the_records_and_the_mean_of_its_seeds() -> None:
    curves = {curve.name: curve for curve in target_of(LEVELS, spread=0.01).curves}
    assert [point.images for point in curves["scratch"].points] == [40, 100, 400]
    assert [point.mean for point in curves["scratch"].points] == pytest.approx([0.1, 0.2, 0.3])
    # deviation 0.01: 4.303 * 0.01 / sqrt(3)
    assert curves["scratch"].points[0].half == pytest.approx(0.02484, abs=1e-5)


def test_how_many_labels_are_saved_equals_a_hand_computation() -> None:
    savings = {saving.curve.name: saving for saving in target_of(LEVELS).savings}
    # 0.30 lies half-way between 0.25 (40 images) and 0.35 (100): sqrt(40 * 100) = 63.2 of 400 images
    found = savings["imagenet"]
    assert found.images == pytest.approx(math.sqrt(4000))
    assert found.saved == pytest.approx(1 - math.sqrt(4000) / 400)
    assert not found.at_most


def test_a_curve_that_never_gets_there_saves_nothing() -> None:
    found = {saving.curve.name: saving for saving in target_of(LEVELS).savings}["noise"]
    assert (found.images, found.saved) == (None, None)


def test_a_curve_that_begins_above_saves_at_least_what_was_tried() -> None:
    found = target_of(LEVELS | {("imagenet", 0.1): 0.33}).savings[0]
    assert (found.images, found.at_most) == (40, True)


def test_bands_say_between_what_numbers_the_answer_lies() -> None:
    found = target_of(LEVELS, spread=0.01).savings[0]
    assert found.low is not None
    assert found.high is not None
    assert found.images is not None
    assert found.low < found.images < found.high
    # lower end of the band, half as wide as 0.02484: at 40 images 0.22516, at 100 0.32516, and 0.30 between them
    assert found.high == pytest.approx(40 * 2.5 ** ((0.30 - 0.22516) / 0.1), rel=1e-3)


def test_without_scratch_there_is_nothing_to_save_against() -> None:
    assert target_of({key: ap for key, ap in LEVELS.items() if key[0] != "scratch"}).savings == []


def test_one_number_of_images_makes_no_curve() -> None:
    assert target_of({key: ap for key, ap in LEVELS.items() if key[1] == 1.0}).curves == []


def test_the_first_crossing_counts() -> None:
    assert crossing([(1, 0.0), (10, 0.5), (100, 0.2), (1000, 0.6)], 0.25) == pytest.approx(math.sqrt(10))
