"""Both engines give what pycocotools gives, and what torchmetrics gives over it."""

import contextlib
import io
import math
import sys

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings

from headstart.config.schema import Engine

NAMES = ("a", "b", "c", "only detected")
engines = pytest.mark.parametrize("engine", list(Engine))
# Few places and sizes, so that boxes meet: IoUs of 1/2 and 3/4, areas of 32² and 96².
left = st.sampled_from([0.0, 16.0])
sides = st.sampled_from([16.0, 24.0, 32.0, 96.0])
boxes = st.builds(lambda x, width, height: (x, 0.0, x + width, height), left, sides, sides)
classes = st.integers(0, 1)
objects = st.lists(st.tuples(boxes, classes, st.booleans()), max_size=5)
detections = st.lists(st.tuples(boxes, st.sampled_from([0.25, 0.5, 0.75]), classes), max_size=8)
line = (0.0, 0.0, 32.0, 0.0)
sets = st.dictionaries(st.integers(0, 20), st.tuples(detections, objects), min_size=1, max_size=4)


def columns(rows):
    return list(zip(*rows, strict=True)) or [(), (), ()]


def mean(values):
    valid = values[values > -1]
    return float(valid.mean()) if len(valid) else math.nan


def annotations(image_id, boxes, labels, **values):
    """COCO's dictionaries, without ids; boxes are already in the original's pixels, and their areas unless given."""
    for i, (x, y, right, bottom) in enumerate(boxes.tolist()):
        box = [x, y, right - x, bottom - y]
        own = {name: column[i].item() for name, column in values.items()}
        yield {"area": box[2] * box[3]} | own | {"image_id": image_id, "category_id": int(labels[i]), "bbox": box}


def coco(images, rows):
    from pycocotools.coco import COCO

    data = COCO()
    data.dataset = {
        "images": [{"id": target.image_id} for _, target in images],
        "categories": [{"id": k} for k in range(len(NAMES))],
        "annotations": [{"id": i, "iscrowd": 0} | row for i, row in enumerate(rows, start=1)],
    }
    data.createIndex()
    return data


def by_pycocotools(images, max_detections=100):
    from pycocotools.cocoeval import COCOeval

    truth = [
        row
        for _, t in images
        for row in annotations(t.image_id, t.boxes_xyxy, t.labels, iscrowd=t.crowd.int(), area=t.area)
    ]
    found = [row for p, t in images for row in annotations(t.image_id, p.boxes_xyxy, p.labels, score=p.scores)]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco(images, truth), coco(images, found), "bbox")
        evaluation.params.maxDets = [max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"][..., 0], evaluation.eval["recall"][..., 0]
    everything = precision[..., 0]
    expected = {"map": mean(everything), "map_50": mean(everything[0]), "map_75": mean(everything[5])}
    for area, name in enumerate(("small", "medium", "large"), start=1):
        expected[f"map_{name}"] = mean(precision[..., area])
    for k, name in enumerate(NAMES):
        expected |= {f"per_class/{name}": mean(everything[..., k]), f"per_class_50/{name}": mean(everything[0, :, k])}
    return expected | {"mar": mean(recall[..., 0])}


def by_torchmetrics(images):
    from torchmetrics.detection import MeanAveragePrecision

    # Its own grids are float32: a recall of exactly 0.6, say, then misses its point of the 101.
    grids = {"iou_thresholds": np.linspace(0.5, 0.95, 10).tolist(), "rec_thresholds": np.linspace(0, 1, 101).tolist()}
    metric = MeanAveragePrecision(backend="pycocotools", class_metrics=True, extended_summary=True, **grids)
    metric.warn_on_many_detections = False
    metric.update(
        [{"boxes": p.boxes_xyxy, "scores": p.scores, "labels": p.labels} for p, _ in images],
        [{"boxes": t.boxes_xyxy, "labels": t.labels, "iscrowd": t.crowd.int(), "area": t.area} for _, t in images],
    )
    with contextlib.redirect_stdout(io.StringIO()):
        found = metric.compute()
    names = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large")
    expected = {name: found[name].item() for name in names} | {"mar": found["mar_100"].item()}
    for k, label in enumerate(found["classes"].tolist()):
        expected[f"per_class/{NAMES[label]}"] = found["map_per_class"][k].item()
        expected[f"per_class_50/{NAMES[label]}"] = mean(found["precision"][0, :, k, 0, -1].double())
    return {name: math.nan if value == -1 else value for name, value in expected.items()}


@pytest.fixture(scope="module", params=range(4))
def drawn(request, draw):
    """Images, and what the two references give for them."""
    images = draw(request.param)
    return images, by_pycocotools(images), by_torchmetrics(images)


@engines
def test_every_number_is_that_of_pycocotools_and_of_torchmetrics(drawn, measure, numbers, engine):
    images, of_pycocotools, of_torchmetrics = drawn
    found = numbers(measure(images, NAMES, engine))
    assert found == pytest.approx(of_pycocotools, abs=1e-6, nan_ok=True)
    assert found == pytest.approx(of_torchmetrics, abs=1e-6, nan_ok=True)


@engines
@given(small=sets, max_detections=st.sampled_from([1, 2, 100]))
@example(small={0: ([(line, 0.5, 0)], [(line, 0, False), (line, 1, False)])}, max_detections=100)
@settings(max_examples=50, deadline=None)
def test_iou_area_and_score_on_the_border_count_as_in_pycocotools(
    target, prediction, measure, numbers, engine, small, max_detections
):
    images = [
        (prediction(*columns(found)), target(image_id, *columns(truth)))
        for image_id, (found, truth) in sorted(small.items())
    ]
    expected = by_pycocotools(images, max_detections)
    found = numbers(measure(images, NAMES, engine, max_detections=max_detections))
    assert found == pytest.approx(expected, abs=1e-6, nan_ok=True)


@engines
def test_an_engine_is_the_library_of_its_name(draw, measure, monkeypatch, engine):
    for other in set(Engine) - {engine}:
        monkeypatch.setitem(sys.modules, other.name, None)
    measure(draw(0)[:3], NAMES, engine)
    monkeypatch.setitem(sys.modules, engine.name, None)
    with pytest.raises(ImportError, match=engine.name):
        measure(draw(0)[:3], NAMES, engine)
