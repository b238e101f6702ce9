"""The losses of RetinaNet and FCOS for a whole batch are those that torchvision computes image by image."""

import math
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional
from torch.nn.functional import one_hot
from torchvision.models.detection._utils import _box_loss
from torchvision.models.detection.fcos import FCOS
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import (
    box_iou,
    complete_box_iou_loss,
    distance_box_iou_loss,
    generalized_box_iou_loss,
    sigmoid_focal_loss,
)

from headstart.config.schema import Architecture, BoxLoss, ClassLoss, OverlapLoss, Variant
from headstart.config.schemas import SCHEMAS
from headstart.data.batch import Batch
from headstart.data.types import Target
from headstart.detectors import overlaps
from headstart.detectors.box_losses import BY_OVERLAP
from headstart.detectors.coding import decode
from headstart.detectors.dense_losses import focal, quality_focal, softplus
from headstart.detectors.factory import build_detector
from headstart.detectors.fcos import assigned
from headstart.detectors.matching import GroundTruth
from tests.detectors.test_ignored import LITE0, build
from tests.waiting import no_waiting

NAMES = ["retinanet", "retinanet-v2", "fcos"]
named = pytest.mark.parametrize("name", NAMES)
CANVAS = (64, 96)
Outputs = dict[str, Tensor]

network = cache(build)


@cache
def heads(name: str) -> tuple[Outputs, Tensor, tuple[list[int], ...]]:
    """What a head says of one image, the anchors, and what else torchvision's `compute_loss` takes."""
    detector = network(name)
    with torch.no_grad():
        features = detector.features(Batch.of([torch.zeros(3, *CANVAS)]))
        outputs, anchors = detector._heads(features.batch, features.maps)
    cells = [level.shape[-2] * level.shape[-1] for level in features.maps.values()]
    return outputs, anchors, (cells,) * isinstance(detector, FCOS)


def drawn(name: str, seed: int, images: int = 3, rows: int = 5) -> tuple[Outputs, GroundTruth]:
    """Any outputs, and boxes of which a third are absent and a sixth ignored; the first image has no object."""
    generator = torch.Generator().manual_seed(seed)
    like, _, _ = heads(name)
    outputs = {key: torch.randn(images, *one.shape[1:], generator=generator) for key, one in like.items()}
    outputs["cls_logits"] = 4 * outputs["cls_logits"] - 4
    low, size = torch.rand(2, images, rows, 2, generator=generator)
    low, size = 60 * low, 3 + 70 * size**2
    draw = torch.rand(images, rows, generator=generator)
    present = draw < 0.5
    present[0] = False
    labels = torch.randint(3, (images, rows), generator=generator)
    return outputs, GroundTruth(present, torch.cat([low, low + size], -1), labels, (draw > 0.8) & (draw < 0.9))


def ours(name: str, outputs: Outputs, objects: GroundTruth) -> dict[str, Tensor]:
    return network(name).losses_of(outputs, heads(name)[1], objects)


def torchvisions(name: str, outputs: Outputs, objects: GroundTruth) -> dict[str, Tensor]:
    _, anchors, further = heads(name)
    own = zip(objects.boxes_xyxy, objects.labels, objects.present, strict=True)
    targets = [{"boxes": boxes[here], "labels": labels[here]} for boxes, labels, here in own]
    return network(name).compute_loss(targets, outputs, [anchors.to(objects.boxes_xyxy)] * len(targets), *further)


def without_ignored(objects: GroundTruth) -> GroundTruth:
    return GroundTruth(objects.present, objects.boxes_xyxy, objects.labels, torch.zeros_like(objects.present))


def gradients(losses: dict[str, Tensor], outputs: Outputs) -> tuple[Tensor, ...]:
    """Of a sum with weights, so that no two losses can be mistaken for each other."""
    total = sum((i + 1) * loss for i, loss in enumerate(losses.values()))
    return torch.autograd.grad(total, list(outputs.values()))


def assert_alike(one: dict[str, Tensor], other: dict[str, Tensor], outputs: Outputs) -> None:
    assert list(one) == list(other)
    for key in one:
        torch.testing.assert_close(one[key], other[key], rtol=1e-5, atol=1e-7)
    for found, expected in zip(gradients(one, outputs), gradients(other, outputs), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


@named
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_losses_and_gradients_of_a_batch_are_torchvisions(name, seed):
    outputs, objects = drawn(name, seed)
    for one in outputs.values():
        one.requires_grad_()
    objects = without_ignored(objects)
    assert_alike(ours(name, outputs, objects), torchvisions(name, outputs, objects), outputs)


@named
@pytest.mark.parametrize("kind", ["no object", "smallest", "the same box twice", "far outside", "largest"])
def test_odd_boxes_are_treated_as_by_torchvision(name, kind):
    outputs, objects = drawn(name, 0)
    objects = without_ignored(objects)
    for one in outputs.values():
        one.requires_grad_()
    if kind == "no object":
        objects.present.zero_()
    elif kind == "the same box twice":
        objects.present.fill_(True)
        objects.boxes_xyxy[:, 1] = objects.boxes_xyxy[:, 0]
    elif kind == "far outside":
        objects.boxes_xyxy[1] += 1e4
    elif kind == "largest":
        objects.boxes_xyxy[:] += torch.tensor([-1500.0, -1500.0, 1500.0, 1500.0])
    else:
        objects.boxes_xyxy[1:, :, 2:] = objects.boxes_xyxy[1:, :, :2] + 1e-3
    assert_alike(ours(name, outputs, objects), torchvisions(name, outputs, objects), outputs)


@named
def test_absent_rows_change_nothing_whatever_stands_in_them(name):
    outputs, objects = drawn(name, 1)
    expected = ours(name, outputs, objects)
    more = torch.randperm(9, generator=torch.Generator().manual_seed(0)).argsort()[:4]
    wider = objects.map(lambda tensor: torch.cat([tensor, tensor.new_zeros(3, 4, *tensor.shape[2:])], 1))
    rubbish = torch.tensor([0.0, torch.nan, torch.inf, 50.0])
    wider.boxes_xyxy[:, 5:] = rubbish[more % 4]
    wider.labels[:, 5:] = 1
    found = ours(name, outputs, wider)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@named
def test_what_a_head_says_of_boxes_where_there_is_none_changes_nothing_whatever_it_is(name):
    outputs, objects = drawn(name, 1)
    expected = ours(name, outputs, objects)
    nothing_there = outputs["bbox_regression"][:1]  # the first image has no object
    nothing_there[:] = torch.tensor([torch.inf, torch.nan, 1e30, -1e30])
    outputs["bbox_regression"].requires_grad_()
    found = ours(name, outputs, objects)
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    (gradient,) = torch.autograd.grad(found["bbox_regression"], outputs["bbox_regression"])
    assert gradient.isfinite().all()


@named
def test_blocks_of_images_have_the_losses_of_the_whole_batch(name, monkeypatch):
    outputs, objects = drawn(name, 2)
    expected = ours(name, outputs, objects)
    monkeypatch.setattr(overlaps, "MOST_ON_CPU", 1)
    found = ours(name, outputs, objects)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def targets_in(photos: list[Tensor]) -> list[Target]:
    """An object, an ignored one and one without area in each, but nothing in the last."""
    boxes = torch.tensor([[4.0, 6.0, 44.0, 50.0], [40.0, 4.0, 60.0, 30.0], [20.0, 20.0, 20.0, 40.0]])
    labels, no, ones = torch.tensor([0, 2, 1]), torch.zeros(3, dtype=torch.bool), torch.ones(3)
    full = [Target(i, boxes, labels, no, labels == 2, ones, CANVAS, CANVAS) for i in range(len(photos))]
    return [*full[:-1], replace(full[-1], **{name: rows[:0] for name, rows in full[-1].per_object().items()})]


def noise(*sizes: tuple[int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(256, (3, *size), dtype=torch.uint8, generator=generator) for size in sizes]


def step(detector: Any, losses: dict[str, Tensor]) -> list[Tensor]:
    """Gradients of the network's parameters."""
    total = torch.stack(list(losses.values())).sum()
    return list(torch.autograd.grad(total, list(detector.parameters()), materialize_grads=True))


@named
def test_of_real_photos_losses_and_gradients_of_the_network_are_torchvisions(name, photo):
    """Called with lists, as its users call it; without an ignored object, which it does not know."""
    detector, photos = network(name), [photo(96, 64), photo(80, 64), photo(64, 48)]
    batch = Batch.of(photos, targets_in(photos))
    batch.targets.difficult.zero_()
    found = detector.losses(batch)
    features = detector.features(batch)
    maps = list(features.maps.values())
    anchors = detector.anchor_generator(ImageList(features.batch, [frame.image_hw for frame in batch.frames]), maps)
    cells = ([level.shape[-2] * level.shape[-1] for level in maps],) * isinstance(detector, FCOS)
    targets = [{"boxes": t.boxes_xyxy[:2], "labels": t.labels[:2]} for _, t in batch.per_image()]
    expected = detector.compute_loss(targets, detector.head(maps), anchors, *cells)
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], rtol=1e-5, atol=0)
    one, other = (torch.cat([of.flatten() for of in step(detector, losses)]) for losses in (found, expected))
    assert (one - other).norm() < 1e-5 * other.norm()  # each by itself has the rounding of all layers


@named
def test_a_step_does_not_wait_for_the_device(name):
    photos = noise((64, 96), (64, 80), (48, 64))
    detector, batch = network(name), Batch.of(photos, targets_in(photos))
    detector.losses(batch)  # what is constant is made in the first step
    with no_waiting():
        losses = detector.losses(batch)
        step(detector, losses)
    assert all(loss.isfinite() for loss in losses.values())


@named
def test_padding_that_the_network_would_add_itself_changes_nothing(name):
    """Up to a multiple of 32 pixels; beyond it torchvision, too, has more background."""
    detector, photos = network(name), noise((60, 90), (50, 80))
    small = Batch.of(photos, targets_in(photos))
    canvas = torch.zeros(2, 3, 64, 96, dtype=torch.uint8)
    canvas[..., :60, :90] = small.images
    found, expected = (detector.losses(b) for b in (Batch(canvas, small.sizes_hw, small.targets, small.frames), small))
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@named
def test_under_autocast_losses_are_those_of_the_heads_answers_in_float32(name, monkeypatch):
    photos, detector = noise((64, 96), (64, 80)), network(name)
    answers: list[Any] = []
    plain = detector.losses_of
    monkeypatch.setattr(detector, "losses_of", lambda *given: answers.append(given) or plain(*given))
    with torch.autocast("cpu", torch.bfloat16):
        found = detector.losses(Batch.of(photos, targets_in(photos)))
    ((outputs, anchors, objects),) = answers
    expected = plain(outputs, anchors, objects)
    assert {t.dtype for t in (*outputs.values(), anchors, objects.boxes_xyxy, *found.values())} == {torch.float32}
    assert all(torch.equal(found[key], expected[key]) for key in expected)


# ------------------------------------------------------------------------------------------------- the parts


def test_softplus_is_right_to_the_last_digits():
    numbers = torch.cat([torch.linspace(-80, 80, 3001), torch.logspace(-30, 2, 500)]).double()
    expected = functional.softplus(numbers, threshold=1000)
    torch.testing.assert_close(softplus(numbers), expected, rtol=1e-14, atol=0)
    torch.testing.assert_close(softplus(numbers.float()), expected.float(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_focal_losses_and_slopes_are_torchvisions_for_any_logit(scale):
    generator = torch.Generator().manual_seed(0)
    logits = (scale * torch.randn(2, 50, 4, generator=generator)).double().requires_grad_()
    labels = torch.randint(4, (2, 50), generator=generator)
    foreground, weights = torch.rand(2, 2, 50, generator=generator).double()
    wanted = one_hot(labels, 4) * (foreground[..., None] > 0.5)
    expected = sigmoid_focal_loss(logits, wanted.double()).sum(-1)
    found = focal(logits, labels, foreground > 0.5)
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad((weights * loss).sum(), logits) for loss in (found, expected))
    torch.testing.assert_close(ours, theirs)


def test_the_slope_of_focal_is_its_differences():
    logits = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    labels, foreground = torch.tensor([[0, 1, 2, 0, 1, 2]]), torch.tensor([[True, False, True, False, True, True]])
    assert gradcheck(lambda x: focal(x, labels, foreground), logits)


OVERLAPS = {"giou": generalized_box_iou_loss, "diou": distance_box_iou_loss, "ciou": complete_box_iou_loss}


@pytest.mark.parametrize("kind", BY_OVERLAP)
def test_losses_by_overlap_are_torchvisions_with_their_gradient_of_boxes_apart_alike_and_touching(kind):
    generator = torch.Generator().manual_seed(0)
    low, size = torch.rand(2, 40, 2, generator=generator)
    boxes = torch.cat([low, low + size], -1)
    others = boxes.roll(1, 0)
    others[0], others[1] = boxes[0], boxes[1] + torch.tensor([size[1, 0], 0, size[1, 0], 0])
    boxes.requires_grad_()
    found, expected = BY_OVERLAP[kind](boxes, others), OVERLAPS[kind](boxes, others)
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(loss.sum(), boxes) for loss in (found, expected))
    torch.testing.assert_close(ours, theirs)


# --------------------------------------------------------------------------------------------- other losses


def with_losses(name: str, **settings: Any) -> Any:
    architecture, _, variant = name.partition("-")
    schema = SCHEMAS["model"][architecture]
    given = {"variant": Variant(variant)} if variant else {}
    return build_detector(schema(Architecture(architecture), **given, **settings), LITE0, ("a", "b", "c")).eval()


@pytest.mark.parametrize("kind", BoxLoss)
def test_retinanets_losses_of_boxes_are_torchvisions(kind):
    outputs, objects = drawn("retinanet", 3)
    outputs["bbox_regression"].requires_grad_()
    objects = without_ignored(objects)
    detector, (_, anchors, _) = with_losses("retinanet", box_loss=kind), heads("retinanet")
    found = detector.losses_of(outputs, anchors, objects)["bbox_regression"]
    expected = torchvisions_boxes(detector, outputs, anchors, objects)
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(loss, outputs["bbox_regression"])[0] for loss in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


def torchvisions_boxes(detector: Any, outputs: Outputs, anchors: Tensor, objects: GroundTruth) -> Tensor:
    """torchvision's function of one image's objects: it knows the five, and smooth L1 of any β."""
    matches, each = detector._matches(anchors, objects), []
    for i, found in enumerate(matches):
        here = found >= 0
        wanted, codes = objects.boxes_xyxy[i, found[here]], outputs["bbox_regression"][i, here]
        kind = detector.head.regression_head._loss_type
        cnf = {"beta": 1 / 9} if kind == "smooth_l1" else None
        loss = _box_loss(kind, detector.box_coder, anchors[here], wanted, codes, cnf)
        each.append(loss / max(1, int(here.sum())))
    return torch.stack(each).mean()


@pytest.mark.parametrize("kind", OverlapLoss)
def test_fcos_takes_the_mean_of_the_loss_by_overlap_over_its_cells(kind):
    outputs, objects = drawn("fcos", 3)
    objects = without_ignored(objects)
    detector, (_, anchors, _) = with_losses("fcos", box_loss=kind), heads("fcos")
    found = detector.losses_of(outputs, anchors, objects)["bbox_regression"]
    matches = assigned(anchors, objects.boxes_xyxy, objects.present, radius=detector.center_sampling_radius)
    images, cells = torch.where(matches >= 0)
    boxes = detector.box_coder.decode(outputs["bbox_regression"][images, cells], anchors[cells])
    expected = OVERLAPS[kind.value](boxes, objects.boxes_xyxy[images, matches[images, cells]]).mean()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("variant", "own"), [("v1", BoxLoss.l1), ("v2", BoxLoss.giou)])
def test_a_box_loss_that_is_not_given_is_the_variants_own(variant, own):
    plain, given = (with_losses(f"retinanet-{variant}", box_loss=kind) for kind in (None, own))
    outputs, objects = drawn("retinanet", 3)
    found, expected = (net.losses_of(outputs, heads("retinanet")[1], objects) for net in (plain, given))
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_quality_focal_is_the_papers_formula_by_hand():
    """Equation 3 of the paper, β = 2, of one object whose box has an IoU of 0.6 and of one place without."""
    logits = torch.tensor([[[0.4, -1.2], [0.9, -2.0]]], dtype=torch.float64)
    quality = torch.full((1, 2), 0.6, dtype=torch.float64)
    found = quality_focal(logits, torch.tensor([[0, 1]]), torch.tensor([[True, False]]), quality)
    p = [[1 / (1 + math.exp(-x)) for x in row] for row in logits[0].tolist()]

    def qfl(y: float, sigma: float) -> float:
        return -(abs(y - sigma) ** 2) * ((1 - y) * math.log(1 - sigma) + y * math.log(sigma))

    expected = [[qfl(0.6, p[0][0]) + qfl(0, p[0][1]), qfl(0, p[1][0]) + qfl(0, p[1][1])]]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_a_score_learns_the_iou_of_its_box_which_no_gradient_reaches_from_there():
    outputs, objects = drawn("retinanet", 3)
    for one in outputs.values():
        one.requires_grad_()
    detector, (_, anchors, _) = with_losses("retinanet", class_loss=ClassLoss.quality_focal), heads("retinanet")
    found = detector.losses_of(outputs, anchors, objects)["classification"]
    gradient = torch.autograd.grad(found, list(outputs.values()), allow_unused=True)
    assert [one is None for one in gradient] == [key != "cls_logits" for key in outputs]
    matches = detector._matches(anchors, objects)
    images, rows = torch.where(matches >= 0)
    boxes = decode(outputs["bbox_regression"][images, rows], anchors[rows], detector.box_coder.weights)
    ious = box_iou(boxes, objects.boxes_xyxy[images, matches[images, rows]]).diagonal()
    wanted = torch.zeros_like(outputs["cls_logits"])
    wanted[images, rows, objects.labels[images, matches[images, rows]]] = ious
    logits = outputs["cls_logits"]
    each = (logits.sigmoid() - wanted) ** 2 * functional.binary_cross_entropy_with_logits(
        logits, wanted, reduction="none"
    )
    count = (matches >= 0).sum(1).clamp(min=1)
    expected = (each.sum(-1).where((matches >= -1), 0).sum(1) / count).mean()
    torch.testing.assert_close(found, expected)
