"""The losses of a batch in the SSDs are those of torchvision's `compute_loss`, image by image, and so are gradients."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection.ssd import SSD
from torchvision.ops import box_iou

from headstart.data.batch import Batch, padded_targets
from headstart.data.types import Target
from headstart.detectors import suppression
from headstart.detectors.matching import GroundTruth
from headstart.detectors.ssd_tf import TfSSDDetector
from tests.detectors.test_batched_detections import CANVAS, Heads, answers, build
from tests.waiting import no_waiting

Box = tuple[float, float, float, float]


@pytest.fixture(scope="module", params=["ssd", "ssd-tf", "ssdlite"])
def detector(request, without_initialising) -> Any:
    with without_initialising():
        return build(request.param, 3)


def target(*boxes: Box) -> Target:
    """Objects of the classes 0, 1, 2, 0 …"""
    no, some = torch.zeros(len(boxes), dtype=torch.bool), torch.arange(len(boxes))
    return Target(0, torch.tensor(boxes).reshape(-1, 4), some % 3, no, no, torch.ones(len(boxes)), CANVAS, CANVAS)


def drawn(count: int, seed: int) -> Target:
    """Some of them one pixel wide, some nearly as large as the picture."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * torch.tensor([150.0, 120.0])
    sizes = 1 + torch.rand(count, 2, generator=generator) ** 2 * torch.tensor([150.0, 120.0])
    return target(*torch.cat([corners, corners + sizes], 1).tolist())


SMALL, WIDE = (4.0, 6.0, 44.0, 50.0), (20.0, 10.0, 150.0, 54.0)
CASES = {
    "one object each": [target(SMALL), target(WIDE), target((100.0, 100.0, 108.0, 104.0))],
    "several": [drawn(5, 0), drawn(9, 1), drawn(2, 2)],
    "none in one": [target(SMALL, WIDE), target(), target(WIDE)],
    "none": [target(), target(), target()],
    "the same box twice": [target(SMALL, SMALL, WIDE), target(WIDE, WIDE, WIDE), target()],
    "very many": [drawn(60, 3), drawn(1, 4), drawn(30, 5)],
}


def objects_of(targets: Sequence[Target], rows: int = 1) -> GroundTruth:
    packed = padded_targets(targets, rows)
    return GroundTruth(packed.present, packed.boxes_xyxy, packed.labels + 1, packed.ignore)


def one_by_one(detector: Any, heads: Heads, targets: Sequence[Target]) -> dict[str, Tensor]:
    """torchvision's, and for TensorFlow's SSD what is written below."""
    wanted = [{"boxes": one.boxes_xyxy, "labels": one.labels + 1} for one in targets]
    matches = [
        detector.proposal_matcher(box_iou(one.boxes_xyxy, heads.anchors))
        if len(one.labels)
        else torch.full((len(heads.anchors),), -1)
        for one in targets
    ]
    compute = of_tensorflow if isinstance(detector, TfSSDDetector) else SSD.compute_loss
    return compute(detector, wanted, heads.outputs, [heads.anchors] * len(targets), matches)


def of_tensorflow(detector: Any, targets: Any, outputs: Any, anchors: Any, matches: Any) -> dict[str, Tensor]:
    """Cross-entropy of each class by itself, the background's too; hard negatives are mined as torchvision does."""
    labels, regression = [], torch.zeros(())
    for one, codes, boxes, match in zip(targets, outputs["bbox_regression"], anchors, matches, strict=True):
        found = match >= 0
        wanted = detector.box_coder.encode_single(one["boxes"][match[found]], boxes[found])
        regression = regression + functional.smooth_l1_loss(codes[found], wanted, reduction="sum")
        labels.append(torch.zeros_like(match).masked_scatter(found, one["labels"][match[found]]))
    logits, found = outputs["cls_logits"], torch.stack(labels) > 0
    wanted = functional.one_hot(torch.stack(labels), logits.shape[-1]).float()
    losses = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(-1)
    hardest = losses.masked_fill(found, -torch.inf).argsort(1, descending=True).argsort(1)
    mined = hardest < detector.neg_to_pos_ratio * found.sum(1, keepdim=True)
    count = found.sum().clamp(min=1)
    return {"bbox_regression": regression / count, "classification": (losses * (found | mined)).sum() / count}


def with_gradients(detector: Any, seed: int) -> Heads:
    heads = answers(detector, seed=seed)
    for output in heads.outputs.values():
        output.requires_grad_()
    return heads


@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_are_those_of_each_image_alone(detector, case):
    targets, heads = CASES[case], with_gradients(detector, seed=1)
    objects = objects_of(targets, rows=3)
    with no_waiting():
        found = detector.losses_of(heads.outputs, heads.anchors, objects)
    expected = one_by_one(detector, heads, targets)
    assert found.keys() == expected.keys()
    for name, loss in expected.items():
        torch.testing.assert_close(found[name], loss, rtol=1e-5, atol=0)
        raw = list(heads.outputs.values())
        both = [torch.autograd.grad(one[name], raw, retain_graph=True, allow_unused=True) for one in (found, expected)]
        for ours, theirs in zip(*both, strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None and theirs is not None:
                torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-9)


def test_where_negatives_run_out_objects_count_as_with_torchvision(detector):
    """Nearly every default box is one of an object."""
    targets, heads = [drawn(60, 3)] * 3, answers(detector, seed=2)
    heads.anchors = targets[0].boxes_xyxy.repeat(4, 1)
    heads.outputs = {name: output[:, : len(heads.anchors)].contiguous() for name, output in heads.outputs.items()}
    heads.anchors[:20] += 1000
    found = detector.losses_of(heads.outputs, heads.anchors, objects_of(targets))
    assert_equal(found, one_by_one(detector, heads, targets))


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, loss in expected.items():
        assert loss > 0
        torch.testing.assert_close(found[name], loss, rtol=1e-5, atol=0)


def test_more_padding_changes_nothing(detector):
    heads, targets = answers(detector), CASES["several"]
    found = detector.losses_of(heads.outputs, heads.anchors, objects_of(targets, rows=40))
    assert_equal(found, detector.losses_of(heads.outputs, heads.anchors, objects_of(targets)))


def test_a_step_and_a_prediction_do_not_wait_for_the_device(detector, monkeypatch):
    """From pictures to gradients, after what is constant was made once."""
    monkeypatch.setattr(detector, "min_canvas", 96)
    monkeypatch.setattr(suppression, "by_library", suppression.in_rounds)
    batch = Batch.of([torch.rand(3, 96, 96), torch.rand(3, 64, 96)], [target(SMALL), target()])
    detector.losses(batch)
    with no_waiting():
        sum(detector.losses(batch).values(), torch.zeros(())).backward()
        detector.detect(batch)
