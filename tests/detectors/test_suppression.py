"""Suppression of a batch keeps what torchvision keeps image by image and class by class, on either way to it."""

import pytest
import torch
from torch import Tensor
from torchvision.ops import nms

from headstart.data.batch import Detections
from headstart.detectors import suppression
from headstart.detectors.suppression import suppressed

WAYS = {"library": suppression.by_library, "rounds": suppression.in_rounds}


@pytest.fixture(params=WAYS)
def way(request, monkeypatch) -> str:
    """Both compute on any device; where they are chosen, the device says."""
    monkeypatch.setattr(suppression, "by_library", WAYS[request.param])
    return request.param


def drawn(images: int = 3, rows: int = 60, classes: int = 4, seed: int = 0, levels: int = 0) -> Detections:
    """Boxes that overlap often, a third of them absent. `levels`: that many different scores."""
    generator = torch.Generator().manual_seed(seed)
    corners = 40 * torch.rand(images, rows, 2, generator=generator)
    sizes = 1 + 40 * torch.rand(images, rows, 2, generator=generator)
    scores = torch.rand(images, rows, generator=generator)
    if levels:
        scores = (scores * levels).ceil() / levels
    labels = torch.randint(classes, (images, rows), generator=generator)
    present = torch.rand(images, rows, generator=generator) > 0.3
    return Detections(present, torch.cat([corners, corners + sizes], -1), scores, labels)


def class_by_class(found: Detections, i: int, threshold: float, most: int) -> list[Tensor]:
    """torchvision's suppression of each class of one image by itself; boxes, scores, labels."""
    here = found.present[i].nonzero()[:, 0]
    boxes, scores, labels = found.boxes_xyxy[i, here], found.scores[i, here], found.labels[i, here]
    of_class = [(labels == label).nonzero()[:, 0] for label in labels.unique()]
    kept = torch.cat([rows[nms(boxes[rows], scores[rows], threshold)] for rows in of_class]).sort().values
    kept = kept[scores[kept].argsort(descending=True, stable=True)][:most]
    return [boxes[kept], scores[kept], labels[kept]]


def assert_alike(found: Detections, candidates: Detections, threshold: float, most: int) -> None:
    for i, one in enumerate(found.per_image()):
        boxes, scores, labels = class_by_class(candidates, i, threshold, most)
        assert torch.equal(one.labels, labels)
        assert torch.equal(one.scores, scores)
        assert torch.equal(one.boxes_xyxy, boxes)


@pytest.mark.parametrize("levels", [0, 5], ids=["all scores differ", "five scores"])
@pytest.mark.parametrize("threshold", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("most", [5, 40, 1000])
def test_what_stays_is_what_torchvision_keeps_of_each_class_of_each_image(way, threshold, most, levels):
    candidates = drawn(levels=levels)
    assert_alike(suppressed(candidates, threshold, most), candidates, threshold, most)


def test_rows_are_as_many_as_are_asked_for_and_absent_ones_last_and_zero(way):
    candidates = drawn(rows=30, classes=1)
    candidates.present[1] = False
    found = suppressed(candidates, 0.3, 20)
    assert found.scores.shape == (3, 20)
    assert not found.present[1].any()
    assert (found.present.int().diff(dim=1) <= 0).all()
    assert not found.boxes_xyxy[~found.present].any()
    assert suppressed(drawn(rows=7), 0.3, 20).scores.shape == (3, 7)


def test_what_comes_after_the_first_few_is_found_where_those_do_not_fill_the_rows(way):
    """Forty copies of the best box, then others: the library is asked a second time."""
    candidates = drawn(images=1, rows=100, classes=1)
    order = candidates.scores[0].argsort(descending=True)[:40]
    candidates.boxes_xyxy[0, order] = torch.tensor([0.0, 0.0, 10.0, 10.0])
    found = suppressed(candidates, 0.5, 8)
    assert_alike(found, candidates, 0.5, 8)
    assert found.present.sum() == 8


def test_boxes_of_late_classes_keep_their_digits(way):
    """IoUs of just over and just under a half: moved by 90,000 pixels, float32 has steps of 1/128 of one."""
    boxes = torch.tensor(
        [[0.0, 0.0, 100.0, 100.0], [0.0, 0.0, 50.001, 100.0], [200, 0, 300, 100], [200, 0, 249.999, 100]]
    )
    candidates = Detections(
        torch.ones(1, 4).bool(), boxes[None], torch.tensor([[0.9, 0.8, 0.7, 0.6]]), torch.full((1, 4), 300)
    )
    assert suppressed(candidates, 0.5, 4).scores[0].tolist() == pytest.approx([0.9, 0.7, 0.6, 0])


@pytest.mark.filterwarnings("error")
def test_boxes_without_area_and_numbers_that_are_none_suppress_nothing(way):
    candidates = drawn(rows=6, classes=1)
    candidates.boxes_xyxy[:, :2] = torch.tensor([5.0, 5.0, 5.0, 9.0])
    candidates.present[:, :2], candidates.present[:, 2] = True, False
    expected = suppressed(candidates, 0.5, 6)
    assert (expected.boxes_xyxy[..., 2] == 5).sum() == 6
    candidates.boxes_xyxy[:, 2], candidates.scores[:, 2] = torch.nan, torch.nan
    found = suppressed(candidates, 0.5, 6)
    assert torch.equal(found.boxes_xyxy, expected.boxes_xyxy)
    assert torch.equal(found.scores, expected.scores)
