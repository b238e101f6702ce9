"""Difficult objects count by VOC's rule, crowds by COCO's, and both engines give what plain loops give."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from headstart.config.schema import Engine

NAMES = ("a", "b", "c", "only detected")
THRESHOLDS = np.linspace(0.5, 0.95, 10)
RANGES = {"": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}
BIG = (0, 0, 600, 600)
FAR = (700, 700, 800, 800)
engines = pytest.mark.parametrize("engine", list(Engine))


# ------------------------------------------------------------------------------------------------- the plain reference


def area_of(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def shared(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)


def overlap(found, thing):
    """IoU; of a crowd the share of the detection that lies in it."""
    inside = shared(found, thing["box"])
    return inside / (area_of(found) if thing["crowd"] else area_of(found) + area_of(thing["box"]) - inside)


def best(found, things, threshold):
    """The one that is overlapped most, enough for the threshold; None where there is none. Of equals the last."""
    enough = [thing for thing in things if overlap(found, thing) >= threshold - 1e-10]
    return max(reversed(enough), key=lambda thing: overlap(found, thing), default=None)


def things_of(target, label):
    columns = (target.boxes_xyxy, target.labels, target.crowd, target.difficult, target.area)
    for box, own, crowd, difficult, area in zip(*(column.tolist() for column in columns), strict=True):
        if own == label:
            yield {"box": box, "crowd": crowd, "difficult": difficult and not crowd, "area": area, "taken": False}


def found_of(prediction, label, max_detections):
    columns = (prediction.boxes_xyxy, prediction.scores, prediction.labels)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    found = [(score, box) for box, score, own in rows if own == label]
    return sorted(found, key=lambda pair: -pair[0])[:max_detections]


def judge(image, label, threshold, low_high, max_detections):
    """What is to be found, and (score, right?) of each detection that counts, best first."""
    prediction, target = image
    low, high = low_high
    things = list(things_of(target, label))
    regular = [thing for thing in things if not thing["crowd"] and not thing["difficult"]]
    wanted = [thing for thing in regular if low <= thing["area"] <= high]
    excuses = [thing for thing in things if thing not in wanted]
    verdicts = []
    for score, box in found_of(prediction, label, max_detections):
        right = best(box, [thing for thing in wanted if not thing["taken"]], threshold)
        excuse = best(box, [thing for thing in excuses if not thing["taken"]], threshold)
        if right:
            right["taken"] = True
            verdicts.append((score, True))
        elif excuse:  # a crowd or a difficult object excuses many, an object of another size one
            excuse["taken"] = excuse in regular
        elif low <= area_of(box) <= high:
            verdicts.append((score, False))
    return len(wanted), verdicts


def average_precision(images, label, threshold, low_high, max_detections):
    judged = [judge(image, label, threshold, low_high, max_detections) for image in images]
    wanted = sum(count for count, _ in judged)
    if not wanted:
        return math.nan, math.nan
    verdicts = sorted((v for _, verdicts in judged for v in verdicts), key=lambda verdict: -verdict[0])
    right = np.cumsum([right for _, right in verdicts])
    precision, recall = right / np.arange(1, len(right) + 1), right / wanted
    points = [max(precision[recall >= point], default=0) for point in np.linspace(0, 1, 101)]
    return float(np.mean(points)), max(recall, default=0)


def by_plain_loops(images, max_detections=100):
    ap = {
        area: np.array(
            [[average_precision(images, k, t, low_high, max_detections) for t in THRESHOLDS] for k in range(len(NAMES))]
        )
        for area, low_high in RANGES.items()
    }
    precision, recall = ap[""][..., 0], ap[""][..., 1]
    expected = {"map": mean(precision), "map_50": mean(precision[:, 0]), "map_75": mean(precision[:, 5])}
    expected |= {f"map_{area}": mean(values[..., 0]) for area, values in ap.items() if area}
    for k, name in enumerate(NAMES):
        expected |= {f"per_class/{name}": mean(precision[k]), f"per_class_50/{name}": mean(precision[k, :1])}
    return expected | {"mar": mean(recall)}


def mean(values):
    valid = values[~np.isnan(values)]
    return float(valid.mean()) if len(valid) else math.nan


# ---------------------------------------------------------------------------------------------------------- the engines


@pytest.fixture(scope="module", params=range(4))
def drawn(request, draw):
    images = draw(request.param, difficult=0.35)
    return images, by_plain_loops(images)


@engines
def test_every_number_is_that_of_plain_loops(drawn, measure, numbers, engine):
    images, expected = drawn
    assert sum(int(target.difficult.sum()) for _, target in images) > 10
    assert numbers(measure(images, NAMES, engine)) == pytest.approx(expected, abs=1e-6, nan_ok=True)


# Few places and sizes, so that boxes meet, and many meet the same.
sides = st.sampled_from([16.0, 24.0, 32.0, 96.0])
boxes = st.builds(lambda x, width, height: (x, 0.0, x + width, height), st.sampled_from([0.0, 8.0]), sides, sides)
classes = st.sampled_from([0, 0, 0, 1])
areas = st.sampled_from([100.0, 32.0**2, 3000.0, 96.0**2, 20000.0])
objects = st.lists(st.tuples(boxes, classes, st.sampled_from([False, False, True]), st.booleans(), areas), max_size=5)
detections = st.lists(st.tuples(boxes, st.sampled_from([0.25, 0.5, 0.75]), classes), max_size=8)
sets = st.lists(st.tuples(detections, objects), min_size=1, max_size=3)


def columns(rows, count):
    return list(zip(*rows, strict=True)) or [()] * count


@engines
@given(small=sets, max_detections=st.sampled_from([1, 2, 100]))
@settings(max_examples=60, deadline=None)
def test_boxes_that_meet_many_count_as_in_plain_loops(
    target, prediction, measure, numbers, engine, small, max_detections
):
    images = [
        (prediction(*columns(found, 3)), target(number, *columns(truth, 5)))
        for number, (found, truth) in enumerate(small)
    ]
    expected = by_plain_loops(images, max_detections)
    found = numbers(measure(images, NAMES, engine, max_detections=max_detections))
    assert found == pytest.approx(expected, abs=1e-6, nan_ok=True)


# -------------------------------------------------------------------------------------------------------------- by hand


@pytest.fixture
def inside(target, prediction):
    """Eight false alarms inside a big ignored object, then the one that is to be found."""

    def image(**kinds):
        alarms = [(60 * i, 60 * i, 60 * i + 50, 60 * i + 50) for i in range(8)]
        found = prediction([*alarms, FAR], np.linspace(0.9, 0.5, 9).tolist(), [0] * 9)
        return found, target(0, [BIG, FAR], [0, 0], **kinds)

    return image


@engines
def test_a_difficult_object_does_not_excuse_what_lies_inside_it(inside, measure, engine):
    """The ninth detection is the first that is right: a precision of 1/9 at every recall."""
    assert measure([inside(difficult=[True, False])], ["a"], engine).map == pytest.approx(1 / 9, abs=1e-12)


@engines
def test_a_crowd_excuses_what_lies_inside_it(inside, measure, engine):
    assert measure([inside(crowd=[True, False])], ["a"], engine).map == pytest.approx(1, abs=1e-12)
    assert measure([inside(crowd=[True, False], difficult=[True, False])], ["a"], engine).map == pytest.approx(1)


@engines
def test_many_detections_may_meet_one_difficult_object_and_none_has_to(target, prediction, measure, engine):
    truth = target(0, [BIG, FAR], [0, 0], difficult=[True, False])
    for times in (0, 1, 5):
        found = prediction([*[BIG] * times, FAR], [*[0.9] * times, 0.5], [0] * (times + 1))
        result = measure([(found, truth)], ["a"], engine)
        assert (result.map, result.mar) == pytest.approx((1, 1), abs=1e-12)


@engines
def test_a_difficult_object_is_met_at_some_thresholds_and_not_at_others(target, prediction, measure, engine):
    """IoU 0.7 with the difficult one: dropped at five thresholds, wrong at the other five, before the right one."""
    found = prediction([(0, 0, 600, 421), FAR], [0.9, 0.5], [0, 0])
    result = measure([(found, target(0, [BIG, FAR], [0, 0], difficult=[True, False]))], ["a"], engine)
    assert (result.map_50, result.map_75) == pytest.approx((1, 0.5), abs=1e-12)
    assert result.map == pytest.approx((5 * 1 + 5 * 0.5) / 10, abs=1e-12)


@engines
def test_what_meets_an_object_that_counts_finds_it_though_a_difficult_one_is_nearer(
    target, prediction, measure, engine
):
    truth = target(0, [BIG, (0, 0, 600, 500)], [0, 0], difficult=[True, False])
    result = measure([(prediction([BIG], [0.9], [0]), truth)], ["a"], engine)
    assert (result.map_50, result.mar) == pytest.approx((1, 0.7), abs=1e-12)  # IoU 5/6: right at seven thresholds


@engines
def test_a_difficult_object_of_another_class_excuses_nothing(target, prediction, measure, engine):
    truth = target(0, [BIG, FAR], [1, 0], difficult=[True, False])
    result = measure([(prediction([BIG, FAR], [0.9, 0.5], [0, 0]), truth)], ["a", "b"], engine)
    assert result.map == pytest.approx(0.5, abs=1e-12)
    assert math.isnan(result.per_class["b"])
