"""Detections become one as the published implementations have it, on random boxes, for a whole batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import batched_nms, nms

from headstart.config.postprocess import Rule
from headstart.config.schema import Method
from headstart.data.batch import Detections
from headstart.data.types import Prediction
from headstart.detectors import suppression
from headstart.detectors.merging import merged
from headstart.inference.merging import merge_pictures
from headstart.records.detections import SplitDetections

theirs = pytest.importorskip("ensemble_boxes")
RULE = Rule(iou_threshold=0.5, score_threshold=0.0, max_detections=1000)
SOFT = {Method.soft_nms: 2, Method.soft_nms_linear: 1}


def drawn(seed: int, rows: int = 40, classes: int = 3) -> Prediction:
    """In a picture of 1 by 1, as the published implementations want it."""
    generator = np.random.default_rng(seed)
    corners, sides = generator.uniform(0, 0.5, (rows, 2)), generator.uniform(0.1, 0.5, (rows, 2))
    boxes = np.concatenate([corners, corners + sides], 1).astype(np.float32)
    scores = generator.uniform(0.05, 1, rows).astype(np.float32)
    labels = generator.integers(0, classes, rows)
    return Prediction(*map(torch.from_numpy, (boxes, scores, labels)))


def merge(found: list[Prediction], rule: Rule) -> Prediction:
    """Of one picture, `found` by several views or networks (or by one): what `rule.method` makes of it."""
    parts = [(one.boxes_xyxy, one.scores, one.labels) for one in found]
    boxes, scores, labels = (torch.cat(columns)[None] for columns in zip(*parts, strict=True))
    return merged(Detections(scores > rule.score_threshold, boxes, scores, labels), rule, len(found)).per_image()[0]


def by_score(boxes, scores, labels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = np.argsort(-np.asarray(scores), kind="stable")
    return np.asarray(boxes)[order], np.asarray(scores)[order], np.asarray(labels)[order]


def assert_same(found: Prediction, boxes, scores, labels) -> None:
    boxes, scores, labels = by_score(boxes, scores, labels)
    assert found.labels.tolist() == labels.astype(int).tolist()
    np.testing.assert_allclose(found.scores, scores, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.boxes_xyxy, boxes, atol=1e-5)


def published_soft_nms(one: Prediction, rule: Rule) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class by class, with the scores that it lowered in place."""
    kept = []
    for label in one.labels.unique():
        rows = (one.labels == label).numpy()
        boxes, scores = one.boxes_xyxy.numpy()[rows].astype(float), one.scores.numpy()[rows].astype(float)
        call = theirs.ensemble_boxes_nms.cpu_soft_nms_float
        order = call(boxes, scores, rule.iou_threshold, rule.sigma, rule.score_threshold, SOFT[rule.method])
        scores = scores[scores > rule.score_threshold]
        kept.append((boxes[order], scores, np.full(len(order), int(label))))
    return tuple(np.concatenate(columns) for columns in zip(*kept, strict=True))  # type: ignore[return-value]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.floats(0.1, 0.9), st.sampled_from([*SOFT]))
def test_soft_nms_is_the_published_one(seed, rows, threshold, method):
    rule = replace(RULE, method=method, iou_threshold=threshold, sigma=0.4, score_threshold=0.001)
    one = drawn(seed, rows)
    assert_same(merge([one], rule), *published_soft_nms(one, rule))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=4, unique=True), st.floats(0.2, 0.8))
def test_weighted_boxes_fusion_is_the_published_one(seeds, threshold):
    """Of one model to four, with the score that an object loses which few of them have found."""
    parts = [drawn(seed) for seed in seeds]
    rule = replace(RULE, method=Method.weighted_boxes_fusion, iou_threshold=threshold)
    columns = ([getattr(p, name).tolist() for p in parts] for name in ("boxes_xyxy", "scores", "labels"))
    assert_same(merge(parts, rule), *theirs.weighted_boxes_fusion(*columns, iou_thr=threshold))


@pytest.mark.parametrize("way", ["by_library", "in_rounds"])
@pytest.mark.parametrize("class_agnostic", [False, True])
def test_nms_is_torchvisions_of_each_class_or_of_all(class_agnostic, way, monkeypatch):
    monkeypatch.setattr(suppression, "by_library", getattr(suppression, way))
    for seed in range(5):
        one = drawn(seed)
        if class_agnostic:
            kept = nms(one.boxes_xyxy, one.scores, 0.5)
        else:
            kept = batched_nms(one.boxes_xyxy, one.scores, one.labels, 0.5)
        found = merge([one], replace(RULE, class_agnostic=class_agnostic))
        assert_same(found, one.boxes_xyxy[kept], one.scores[kept], one.labels[kept])


@pytest.mark.parametrize("method", [*SOFT, Method.weighted_boxes_fusion])
def test_class_agnostic_is_as_if_all_were_of_one_class_but_the_best_one_names_it(method):
    one, rule = drawn(3), replace(RULE, method=method, class_agnostic=True)
    found = merge([one], rule)
    alike = merge([replace(one, labels=torch.zeros_like(one.labels))], replace(rule, class_agnostic=False))
    assert torch.equal(found.boxes_xyxy, alike.boxes_xyxy)
    assert torch.equal(found.scores, alike.scores)
    assert len(set(found.labels.tolist()) & set(one.labels.tolist())) > 1


def test_a_fused_object_is_of_the_class_of_its_surest_box():
    box = torch.tensor([[0.0, 0.0, 9.0, 9.0]])
    one = Prediction(box.repeat(3, 1), torch.tensor([0.5, 0.9, 0.7]), torch.tensor([0, 2, 1]))
    found = merge([one], replace(RULE, method=Method.weighted_boxes_fusion, class_agnostic=True))
    assert found.labels.tolist() == [2]
    assert found.scores.tolist() == pytest.approx([0.7])


def test_none_keeps_the_best_whatever_they_overlap():
    one = drawn(0)
    found = merge([one], replace(RULE, method=Method.none, max_detections=7))
    assert torch.equal(found.scores, one.scores.sort(descending=True).values[:7])


def batch(images: int) -> Detections:
    """With absent rows, of other numbers for each picture, which hold what is no number."""
    parts = [drawn(seed) for seed in range(images)]
    columns = (torch.stack([getattr(p, name) for p in parts]) for name in ("boxes_xyxy", "scores", "labels"))
    present = torch.rand(images, 40, generator=torch.Generator().manual_seed(0)) > 0.3
    found = Detections(present, *columns)
    found.boxes_xyxy[~present], found.scores[~present] = torch.nan, torch.nan
    return found


@pytest.mark.parametrize("method", Method)
def test_a_picture_of_a_batch_is_as_if_it_were_alone(method):
    rule, together = replace(RULE, method=method, max_detections=12), batch(4)
    for i, found in enumerate(merged(together, rule, sources=2).per_image()):
        here = together.present[i]
        alone = together.map(lambda tensor, i=i, here=here: tensor[i : i + 1, here])
        other = merged(alone, rule, sources=2).per_image()[0]
        assert torch.equal(found.labels, other.labels)
        assert torch.equal(found.scores, other.scores)
        assert torch.equal(found.boxes_xyxy, other.boxes_xyxy)
        assert not found.boxes_xyxy.isnan().any()


@pytest.mark.parametrize("method", Method)
def test_it_waits_for_no_device(method):
    """On one that has no numbers, to read one of them raises."""
    found = merged(batch_of_shapes(), replace(RULE, method=method, max_detections=5), sources=2)
    assert found.boxes_xyxy.shape == (2, 5, 4)


def batch_of_shapes() -> Detections:
    boxes, scores = torch.empty(2, 20, 4, device="meta"), torch.empty(2, 20, device="meta")
    return Detections(scores > 0, boxes, scores, torch.empty(2, 20, dtype=torch.int64, device="meta"))


def test_many_pictures_at_once_are_each_alone(monkeypatch):
    monkeypatch.setattr("headstart.inference.merging.AT_ONCE", 2)
    parts = {number: drawn(number, rows=10 + number) for number in (7, 0, 3, 5, 9)}
    columns = ("boxes_xyxy", "scores", "labels")
    images = np.concatenate([np.full(len(one.scores), number) for number, one in parts.items()])
    boxes, scores, labels = (np.concatenate([getattr(p, name).numpy() for p in parts.values()]) for name in columns)
    found = SplitDetections(images, boxes, scores, labels, measured=np.unique(images))
    rule = replace(RULE, method=Method.weighted_boxes_fusion)
    together = merge_pictures(found, rule)
    assert together.images.tolist() == sorted(together.images.tolist())
    for number, one in parts.items():
        alone, here = merge([one], rule), together.images == number
        for name in columns:
            np.testing.assert_array_equal(getattr(together, name)[here], getattr(alone, name))
