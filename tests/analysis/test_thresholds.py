"""The threshold of a class is where F1 on the validation pictures is best: by hand, and by trying all."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from headstart.analysis.scored import score
from headstart.analysis.thresholds import least_scores
from headstart.records.detections import SplitDetections
from headstart.records.truth import Truth

BOX = [10.0, 10.0, 20.0, 20.0]
FAR = [50.0, 50.0, 60.0, 60.0]


def truth(rows: list[tuple[int, list[float], int]], ignored: str = "") -> Truth:
    """Rows of picture, box, label; `ignored`: what the last object is, `crowd` or `difficult`."""
    images, boxes, labels = (np.array(column) for column in zip(*rows, strict=True))
    kinds = {
        kind: np.arange(len(rows)) == (len(rows) - 1 if kind == ignored else -1) for kind in ("crowd", "difficult")
    }
    sizes = np.full((9, 2), 100, np.int32)
    names = tuple(f"{n}.jpg" for n in range(9))
    return Truth("0", ("cat", "dog"), names, sizes, images, boxes, labels, **kinds, area=np.ones(len(rows)))


def detections(rows: list[tuple[int, list[float], float, int]]) -> SplitDetections:
    images, boxes, scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    return SplitDetections(images, boxes.astype(np.float32), scores.astype(np.float32), labels, np.arange(9))


def best_thresholds(found: SplitDetections, objects: Truth) -> dict[str, float]:
    scored = score(objects, found, 100)
    assert scored is not None
    return least_scores(scored)


def test_the_threshold_lies_half_way_below_the_last_detection_that_makes_f1_best() -> None:
    objects = truth([(0, BOX, 0), (1, BOX, 0), (2, BOX, 0)])
    # F1 after each: 2/4, 4/5, 4/6 (a miss), 6/7 (best), 6/8 (a miss).
    found = [(0, BOX, 0.9, 0), (1, BOX, 0.8, 0), (1, FAR, 0.6, 0), (2, BOX, 0.5, 0), (2, FAR, 0.3, 0)]
    assert best_thresholds(detections(found), objects) == {"cat": pytest.approx(0.4)}


def test_an_object_is_found_once() -> None:
    objects = truth([(0, BOX, 0)])
    found = [(0, BOX, 0.9, 0), (0, [10.0, 10.0, 20.0, 19.0], 0.7, 0)]
    assert best_thresholds(detections(found), objects) == {"cat": pytest.approx(0.8)}


def test_of_detections_of_one_score_all_are_shown_or_none() -> None:
    objects = truth([(0, BOX, 0), (1, BOX, 0)])
    found = [(0, BOX, 0.9, 0), (1, BOX, 0.5, 0), (2, FAR, 0.5, 0), (3, FAR, 0.5, 0), (4, FAR, 0.5, 0)]
    # With the second one alone F1 were 1; with all four of 0.5 it is 4/7, with the first alone 2/3.
    assert best_thresholds(detections(found), objects) == {"cat": pytest.approx(0.7)}


def test_a_class_that_has_no_object_or_was_never_found_has_no_threshold() -> None:
    found = detections([(0, FAR, 0.9, 0), (0, FAR, 0.9, 1)])
    assert best_thresholds(found, truth([(0, BOX, 0)])) == {}


@pytest.mark.parametrize("kind", ["crowd", "difficult"])
def test_a_detection_of_what_is_ignored_does_not_count(kind: str) -> None:
    rows = [(0, BOX, 0), (1, BOX, 0), (2, BOX, 0)]
    on_it = [(2, [10.0, 10.0, 20.0, end], 0.8, 0) for end in (20.0, 19.0, 18.0)]
    found = detections([(0, BOX, 0.9, 0), (1, BOX, 0.5, 0), *on_it])
    assert best_thresholds(found, truth(rows, kind)) == {"cat": pytest.approx(0.5)}
    # As mistakes they would be worth leaving out: F1 is 2/3 with the first alone, 4/7 with all.
    elsewhere = detections([(0, BOX, 0.9, 0), (1, BOX, 0.5, 0), *((3, box, score, 0) for _, box, score, _ in on_it)])
    assert best_thresholds(elsewhere, truth(rows, kind)) == {"cat": pytest.approx(0.85)}


def test_no_other_threshold_is_better_on_random_boxes() -> None:
    """Tried one by one, with overlaps as pycocotools has them."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        corners = rng.integers(0, 30, (40, 2)).astype(float)
        boxes = np.concatenate([corners, corners + rng.integers(5, 20, (40, 2))], 1)
        picture, label = np.sort(rng.integers(0, 4, 40)), rng.integers(0, 2, 40)
        objects = truth(sorted(zip(picture[::3].tolist(), boxes[::3].tolist(), label[::3].tolist(), strict=True)))
        noisy = boxes + rng.normal(0, 1, boxes.shape)
        scores = rng.permutation(40) / 50 + 0.1
        found = detections(list(zip(picture.tolist(), noisy.tolist(), scores.tolist(), label.tolist(), strict=True)))
        for number, name in enumerate(objects.class_names):
            chosen = best_thresholds(found, objects).get(name)
            values = {score: f1(found, objects, number, score) for score in found.scores[label == number]}
            if chosen is None:
                assert max(values.values(), default=0) == 0
            else:
                assert f1(found, objects, number, chosen) == pytest.approx(max(values.values()))


def f1(found: SplitDetections, objects: Truth, label: int, threshold: float) -> float:
    shown = np.flatnonzero((found.labels == label) & (found.scores >= threshold))
    there = np.flatnonzero(objects.labels == label)
    hits, free = 0, set(there.tolist())
    for row in sorted(shown, key=lambda row: -found.scores[row]):
        here = [one for one in free if objects.images[one] == found.images[row]]
        a, b = found.boxes_xyxy[row].astype(float), objects.boxes_xyxy[here].astype(float).reshape(-1, 4)
        if len(here):
            xywh = [np.concatenate([x[..., :2], x[..., 2:] - x[..., :2]], -1) for x in (a[None], b)]
            ious = coco_mask.iou(*xywh, [0] * len(here))[0]
            if ious.max() >= 0.5:
                free.remove(here[int(ious.argmax())])
                hits += 1
    return 2 * hits / (len(shown) + len(there)) if len(shown) + len(there) else 0.0
