"""mAP of resampled pictures is what the whole evaluation gives for them."""

import numpy as np
import pytest

from headstart.config.schema import Engine
from headstart.evaluation.engines import evaluate
from headstart.evaluation.matching import match
from headstart.evaluation.scoring import image_results

from .lists import update

NAMES = ("a", "b", "c", "only detected")


def results_of(images, class_names=NAMES):
    """As `ImageResult`s, through the metric."""
    from headstart.evaluation.coco_map import CocoMeanAveragePrecision
    from headstart.evaluation.seen import detections_seen, truth_seen

    metric = CocoMeanAveragePrecision(class_names)
    update(metric, images)
    metric.compute()
    known = truth_seen(metric.images, class_names)
    return image_results(known.truth, detections_seen(metric.images, known, class_names))


def of_resample(images, weights):
    """By the engine, with each picture as often as it is drawn."""
    again = [image for image, weight in zip(images.values(), weights, strict=True) for _ in range(weight)]
    found = evaluate(dict(enumerate(again)), len(NAMES), Engine.hotcoco, 100)
    return found["scalars"] | {f"per_class/{name}": ap for name, ap in zip(NAMES, found["per_class"], strict=True)}


METRICS = ("map", "map_50", "map_75", "map_small", "map_large", "mar", "per_class/b")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("metric", METRICS)
def test_a_resamples_metric_is_that_of_the_engine_for_pictures_drawn_again_and_again(draw, seed, metric):
    """Where a recall lies on one of the 101 points, float arithmetic there counts it or not: 1/101 of one precision."""
    images = results_of(draw(seed, difficult=0.1))
    rng = np.random.default_rng(seed)
    weights = np.vstack([np.ones(len(images), int), rng.multinomial(len(images), [1 / len(images)] * len(images), 5)])
    found = match(images, NAMES, metric, 100).resampled(weights)
    assert found == pytest.approx([of_resample(images, row)[metric] for row in weights], abs=0.004, nan_ok=True)
    assert len(set(found.tolist())) > 2


def test_a_resample_without_objects_has_nan(target, prediction):
    box = (0, 0, 50, 50)
    empty = (prediction([], [], []), target(1, [], []))
    images = results_of([(prediction([box], [0.9], [0]), target(0, [box], [0])), empty])
    found = match(images, NAMES, "map", 100).resampled(np.array([[1, 1], [0, 2], [2, 0]]))
    assert np.isnan(found).tolist() == [False, True, False]
    assert found[0] == found[2] == pytest.approx(1)
