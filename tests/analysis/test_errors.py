"""TIDE's kinds of error and the confusion matrix: against the published tool, and against what is counted by hand."""

import contextlib
import io

import numpy as np
import pytest

from headstart.analysis.errors import KINDS, confusion, tide
from headstart.analysis.scored import Scored, score
from headstart.analysis.thresholds import best_thresholds, kept
from headstart.records.detections import SplitDetections
from headstart.records.truth import Truth

from .drawn import drawn, found_of, truth_of

ONE = (10.0, 10.0, 50.0, 50.0)
OTHER = (100.0, 100.0, 140.0, 140.0)
SHIFTED = (28.0, 10.0, 68.0, 50.0)  # IoU 22 / 58 = 0.38 with ONE
TOUCHING = (48.0, 48.0, 88.0, 88.0)  # below 0.1
OBJECTS = [(0, ONE, 0), (0, OTHER, 1)]


def scored(objects, detections, **flags) -> Scored:
    result = score(truth_of(objects, **flags), found_of(detections), 100)
    assert result is not None
    return result


BY_HAND = {
    "Cls": ([(0, ONE, 1, 0.9), (0, OTHER, 1, 0.8)], 1),
    "Loc": ([(0, SHIFTED, 0, 0.9), (0, OTHER, 1, 0.8)], 1),
    "Both": ([(0, SHIFTED, 2, 0.9), (0, ONE, 0, 0.8), (0, OTHER, 1, 0.8)], 1),
    "Dupe": ([(0, ONE, 0, 0.9), (0, ONE, 0, 0.8), (0, OTHER, 1, 0.8)], 1),
    "Bkg": ([(0, TOUCHING, 0, 0.9), (0, ONE, 0, 0.8), (0, OTHER, 1, 0.8)], 1),
    "Miss": ([(0, ONE, 0, 0.9)], 1),
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_an_error_laid_by_hand_is_of_its_kind_and_of_no_other(kind: str) -> None:
    detections, count = BY_HAND[kind]
    found = tide(scored(OBJECTS, detections))
    assert {name: errors.count for name, errors in found.items()} == dict.fromkeys(KINDS, 0) | {kind: count}


def test_what_a_kind_costs_is_the_ap_that_its_mending_would_add() -> None:
    # class 0: a false one above the right one, precision 1/2 at all recalls; mended, 1. Class 1 is 1. Mean over both.
    found = tide(scored(OBJECTS, BY_HAND["Bkg"][0]))
    assert found["Bkg"].cost == pytest.approx(0.25)


def tidecv(truth: Truth, found: SplitDetections) -> tuple[dict[str, int], dict[str, float]]:
    """Count and cost by kind, as the authors' tool has them."""
    pytest.importorskip("tidecv", reason="pip install tidecv: it brings an OpenCV that goes with no other")
    from tidecv import TIDE, Data

    gt, detections = Data("gt"), Data("found")
    for label, name in enumerate(truth.class_names):
        gt.add_class(label, name)
        detections.add_class(label, name)
    for picture, name in enumerate(truth.image_names):
        gt.add_image(picture, name)
        detections.add_image(picture, name)
    for picture, box, label in zip(truth.images, truth.boxes_xyxy, truth.labels, strict=True):
        gt.add_ground_truth(int(picture), int(label), xywh(box))
    for picture, box, label, s in zip(found.images, found.boxes_xyxy, found.labels, found.scores, strict=True):
        detections.add_detection(int(picture), int(label), float(s), xywh(box))
    tool = TIDE()
    with contextlib.redirect_stdout(io.StringIO()):
        run = tool.evaluate(gt, detections, mode=TIDE.BOX)
    counts = {kind.short_name: len(errors) for kind, errors in run.error_dict.items()}
    costs = {kind.short_name: cost / 100 for kind, cost in run.fix_main_errors().items()}
    return counts, costs


def xywh(box: np.ndarray) -> list[float]:
    return [float(n) for n in (box[0], box[1], box[2] - box[0], box[3] - box[1])]


@pytest.mark.parametrize("seed", range(3))
def test_tide_is_the_published_tools(seed: int) -> None:
    truth, found = drawn(seed)
    result = score(truth, found, 100)
    assert result is not None
    ours = tide(result)
    counts, costs = tidecv(truth, found)
    assert sum(counts.values()) > 20
    assert {kind: errors.count for kind, errors in ours.items()} == counts
    step = 1 / 101 / len(truth.class_names)  # a recall that is just at one of the 101 is on either side of it
    assert {kind: errors.cost for kind, errors in ours.items()} == pytest.approx(costs, abs=step)


def test_the_confusion_matrix_is_what_is_counted_by_hand() -> None:
    objects = [(0, ONE, 0), (0, OTHER, 1), (1, ONE, 2)]
    found = [(0, ONE, 0, 0.9), (0, ONE, 0, 0.7), (0, OTHER, 2, 0.8), (1, OTHER, 1, 0.6), (1, SHIFTED, 2, 0.5)]
    matrix = confusion(scored(objects, found), np.array([True] * 5))
    assert matrix.tolist() == [
        [1, 0, 0, 0],  # a: found
        [0, 0, 1, 0],  # b: taken for c
        [0, 0, 0, 1],  # c: missed, the box is too far off
        [1, 1, 1, 0],  # nothing: a second time a, b where there is none, the c that is too far off
    ]


def test_what_a_crowd_or_a_difficult_object_excuses_is_in_no_matrix() -> None:
    objects = [(0, ONE, 0), (0, OTHER, 1), (1, ONE, 0), (1, OTHER, 1)]
    inside = (12.0, 12.0, 20.0, 20.0)
    found = [(0, ONE, 0, 0.9), (0, OTHER, 1, 0.8), (0, OTHER, 1, 0.7), (1, inside, 0, 0.6), (1, OTHER, 1, 0.5)]
    result = scored(objects, found, crowd=[2], difficult=[1])
    matrix = confusion(result, np.ones(5, dtype=bool))
    assert matrix.sum() == 2
    assert (matrix[0, 0], matrix[1, 1]) == (1, 1)
    assert result.excused.tolist() == [False, True, True, True, False]
    assert result.partner.tolist() == [0, -1, -1, -1, 3]


def test_detections_below_their_classs_threshold_are_in_no_matrix() -> None:
    found = [(0, ONE, 0, 0.9), (0, OTHER, 1, 0.8), (0, TOUCHING, 0, 0.3)]
    result = scored(OBJECTS, found)
    matrix = confusion(result, kept(result, best_thresholds(result)))
    assert matrix[-1].sum() == 0
    assert confusion(result, np.ones(3, dtype=bool))[-1].sum() == 1


def test_without_an_object_there_is_nothing_to_be_scored() -> None:
    assert score(truth_of([]), found_of([(0, ONE, 0, 0.9)]), 100) is None


def test_without_a_detection_all_is_missed() -> None:
    result = scored(OBJECTS, [])
    assert tide(result)["Miss"].count == 2
    assert confusion(result, np.zeros(0, dtype=bool))[:, -1].tolist() == [1, 1, 0, 0]
