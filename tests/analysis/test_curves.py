"""Curves, thresholds and calibration: against what is counted by hand, and against trying everything."""

import math

import numpy as np
import pytest

from headstart.analysis.curves import RECALLS, calibration, mean_precision, precision
from headstart.analysis.scored import Scored, score
from headstart.analysis.summary import summarise
from headstart.analysis.thresholds import best_thresholds, kept

from .drawn import drawn, found_of, truth_of

BOXES = [(20.0 * i, 0.0, 20.0 * i + 15, 15.0) for i in range(8)]
EMPTY = (0.0, 150.0, 30.0, 180.0)


def scored(objects, detections, **flags) -> Scored:
    result = score(truth_of(objects, **flags), found_of(detections), 100)
    assert result is not None
    return result


@pytest.fixture
def four_objects() -> Scored:
    """By falling score: right, wrong, right, right, wrong; the fourth object is missed."""
    detections = [
        (0, BOXES[0], 0, 0.95),
        (0, EMPTY, 0, 0.85),
        (0, BOXES[1], 0, 0.75),
        (0, BOXES[2], 0, 0.65),
        (0, EMPTY, 0, 0.15),
    ]
    return scored([(0, BOXES[i], 0) for i in range(4)], detections)


def test_the_curve_is_what_is_counted_by_hand(four_objects: Scored) -> None:
    # precision after each: 1, 1/2, 2/3, 3/4, 3/5 at recall 1/4, 1/4, 1/2, 3/4, 3/4; then the greatest to the right.
    by_hand = [1.0 if recall <= 0.25 else 0.75 if recall <= 0.75 else 0.0 for recall in RECALLS]
    found = precision(four_objects, 0.5)
    assert found[0] == pytest.approx(by_hand)
    assert np.isnan(found[1:]).all(), "the other classes have no object"
    assert mean_precision(found) == pytest.approx(by_hand)


def test_the_threshold_of_the_best_f1_is_what_is_counted_by_hand(four_objects: Scored) -> None:
    found = best_thresholds(four_objects)
    # F1 = 2 right / (kept + objects): 2/5, 2/6, 4/7, 6/8, 6/9
    best = found["a"]
    assert best is not None
    assert (best.score, best.precision, best.recall, best.f1) == pytest.approx((0.65, 3 / 4, 3 / 4, 3 / 4))
    assert (found["b"], found["c"]) == (None, None)
    assert kept(four_objects, found).tolist() == [True, True, True, True, False]


def test_no_other_threshold_has_a_better_f1() -> None:
    truth, found = drawn(7, pictures=30)
    result = score(truth, found, 100)
    assert result is not None
    for label, best in enumerate(best_thresholds(result).values()):
        chosen = (found.labels == label) & ~result.excused
        objects = (result.wanted & (truth.labels == label)).sum()
        tried = []
        for least in found.scores[chosen]:
            these = chosen & (found.scores >= least)
            tried.append(2 * (these & result.right).sum() / (these.sum() + objects))
        assert best is not None
        assert best.f1 == pytest.approx(max(tried))


def test_equal_scores_are_kept_or_dropped_together() -> None:
    result = scored([(0, BOXES[0], 0)], [(0, BOXES[0], 0, 0.5), (0, EMPTY, 0, 0.5)])
    best = best_thresholds(result)["a"]
    assert best is not None
    assert best.precision == 0.5


def test_calibration_is_what_is_counted_by_hand(four_objects: Scored) -> None:
    found = calibration(four_objects)
    assert [bin.count for bin in found.bins] == [1, 1, 1, 1, 1]
    distances = [0.15 - 0, 1 - 0.65, 1 - 0.75, 0.85 - 0, 1 - 0.95]
    assert found.error == pytest.approx(sum(distances) / 5)


def test_an_excused_detection_is_in_no_curve_and_no_bin() -> None:
    objects = [(0, BOXES[0], 0), (0, BOXES[1], 0)]
    result = scored(objects, [(0, BOXES[0], 0, 0.9), (0, BOXES[1], 0, 0.95)], difficult=[1])
    assert sum(bin.count for bin in calibration(result).bins) == 1
    assert precision(result, 0.5)[0] == pytest.approx(1.0)


def test_the_pictures_that_go_wrong_are_told_by_their_errors() -> None:
    objects = [(0, BOXES[0], 0), (0, BOXES[1], 1), (1, BOXES[0], 0), (2, BOXES[0], 0)]
    detections = [(0, BOXES[0], 0, 0.9), (1, BOXES[0], 0, 0.9), (1, EMPTY, 0, 0.95), (2, BOXES[0], 0, 0.9)]
    result = score(truth_of(objects, pictures=4), found_of(detections, pictures=4), 100)
    assert result is not None
    found = summarise(result)
    assert found["pictures"] == {"rows": [0, 1, 2, 3], "wrong": [1, 1, 0, 0]}
    assert found["classes"]["b"]["threshold"] is None
    assert math.isnan(found["classes"]["c"]["precision"][0])
