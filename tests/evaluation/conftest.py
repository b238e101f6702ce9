"""Ground truth and detections that code draws, and one way to measure them."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

from headstart.config.schema import Engine
from headstart.data.types import Prediction, Target
from headstart.evaluation.coco_map import CocoMeanAveragePrecision

from .lists import update

SIZE = 1000
"""Height and width of every drawn image."""
SIDES = [8, 20, 32, 50, 96, 97, 150, 300]
"""From small to large; 32 and 96 lie on the borders between them."""


def make_target(image_id, boxes, labels, crowd=None, difficult=None, area=None, original_hw=(SIZE, SIZE)):
    """Of an image in its original pixels; objects are neither crowds nor difficult and as large as their boxes."""
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    crowd, difficult = (torch.tensor(kind or [False] * len(labels), dtype=torch.bool) for kind in (crowd, difficult))
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) if area is None else torch.tensor(area, dtype=torch.float32)
    labels = torch.tensor(labels, dtype=torch.int64)
    return Target(image_id, boxes, labels, crowd, difficult, area, original_hw, original_hw)


def make_prediction(boxes, scores, labels):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Prediction(boxes, torch.tensor(scores, dtype=torch.float32), torch.tensor(labels, dtype=torch.int64))


def batches_of(size, images):
    return [images[start : start + size] for start in range(0, len(images), size)]


@pytest.fixture(scope="session")
def target():
    return make_target


@pytest.fixture(scope="session")
def prediction():
    return make_prediction


@pytest.fixture(scope="session")
def in_batches():
    """Lists of at most `size` images."""
    return batches_of


@pytest.fixture(scope="session")
def measure():
    """The metric's result for a list of (prediction, target), given in batches."""

    def result(images, class_names, engine=Engine.hotcoco, batch_size=3, max_detections=100):
        metric = CocoMeanAveragePrecision(class_names, engine, max_detections)
        for batch in batches_of(batch_size, images):
            update(metric, batch)
        return metric.compute()

    return result


@pytest.fixture(scope="session")
def numbers():
    """Every number of a result under a flat name."""

    def flat(result):
        per_class = {
            f"{key}/{name}": value
            for key in ("per_class", "per_class_50")
            for name, value in asdict(result)[key].items()
        }
        return {name: value for name, value in asdict(result).items() if isinstance(value, float)} | per_class

    return flat


@pytest.fixture(scope="session")
def draw():
    """Images of everything that occurs: see `_image` and `_crowded`. All coordinates are quarters of a pixel."""

    def images(seed, num_images=24, num_classes=4, difficult=0.0):
        rng = np.random.default_rng(seed)
        return [_crowded(rng), *(_image(rng, image_id, num_classes, difficult) for image_id in range(1, num_images))]

    return images


def _boxes(rng, count):
    sides = rng.choice(SIDES, (count, 2)) * np.where(rng.random((count, 1)) < 0.5, 1, 1.25)
    corners = np.round(rng.uniform(0, 700, (count, 2)) * 4) / 4
    return np.hstack([corners, corners + sides])


def _near(rng, boxes):
    """Each box moved and stretched by up to a fifth of its sides, every fourth not at all."""
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    moved = boxes + np.round(rng.uniform(-0.2, 0.2, boxes.shape) * sides * 4) / 4
    return np.where(rng.random((len(boxes), 1)) < 0.25, boxes, moved)


def _image(rng, image_id, num_classes, difficult):
    """Up to eight objects, some of them crowds, the share `difficult` of them difficult, every other smaller than its
    box; found twice, once, as another class or not; and false alarms.

    A fifth of the images has no object, a fifth no detection. The last class has no object, but detections. Scores
    are multiples of 1/16, so ties are many.
    """
    objects = rng.integers(1, 9) if rng.random() < 0.8 else 0
    boxes, labels = _boxes(rng, objects), rng.integers(0, num_classes - 1, objects)
    found = np.concatenate([np.flatnonzero(rng.random(objects) < share) for share in (0.8, 0.3)])
    alarms = rng.integers(0, 6)
    detected = np.vstack([_near(rng, boxes[found]), _boxes(rng, alarms)])
    named = np.concatenate([labels[found], rng.integers(0, num_classes, alarms)])
    named = np.where(rng.random(len(named)) < 0.85, named, rng.integers(0, num_classes, len(named)))
    keep = slice(None) if rng.random() < 0.8 else slice(0)
    scores = np.sort(rng.integers(1, 16, len(named)) / 16)[::-1].copy()
    kinds = [(rng.random(objects) < share).tolist() for share in (0.15, difficult)]
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) * rng.choice([0.3, 1], objects)
    return (
        make_prediction(detected[keep].tolist(), scores[keep].tolist(), named[keep].tolist()),
        make_target(image_id, boxes.tolist(), labels.tolist(), *kinds, area.tolist()),
    )


def _crowded(rng):
    """Image 0: 150 detections of one class, of which the last 30 find objects: those after the 100th do not count."""
    boxes = _boxes(rng, 40)
    detected = np.vstack([boxes[:10], _boxes(rng, 110), _near(rng, boxes[10:])])
    scores = np.linspace(0.9, 0.1, len(detected))
    prediction = make_prediction(detected.tolist(), scores.tolist(), [0] * len(detected))
    return prediction, make_target(0, boxes.tolist(), [0] * len(boxes))
