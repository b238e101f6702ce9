"""Faster R-CNN of a whole batch beside torchvision's own two stages, which take an image after the other.

Where draws would differ, so many are asked for that everything is drawn.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import MultiScaleRoIAlign, box_iou

from headstart.config.schema import Architecture, BackboneConfig, BackboneLibrary, FasterRCNNConfig, Variant
from headstart.data.batch import Batch
from headstart.data.types import Target
from headstart.detectors import proposals, regions, suppression
from headstart.detectors.factory import build_detector
from headstart.detectors.interface import Features
from headstart.detectors.sampling import balanced_sample
from tests.waiting import no_waiting

LITE0 = BackboneConfig("efficientnet_lite0", BackboneLibrary.timm, "tf_efficientnet_lite0", neck_channels=64)
MOBILENET = BackboneConfig("mobilenet_v3_large", BackboneLibrary.torchvision, "mobilenet_v3_large", neck_channels=64)
DETECTORS = {"v1": (Variant.v1, LITE0), "v2": (Variant.v2, LITE0), "mobilenet": (Variant.v1, MOBILENET)}
SIZES = ((64, 96), (96, 80), (40, 60))
OBJECTS = (((4.0, 6.0, 44.0, 50.0), (30.3, 10.0, 64.0, 40.0)), (), ((10.5, 2.0, 60.0, 38.0),))


@pytest.fixture(scope="module", params=DETECTORS)
def detector(request) -> Any:
    """Random; its proposals lie apart from the anchors, and its scores from each other."""
    variant, backbone = DETECTORS[request.param]
    config = FasterRCNNConfig(Architecture.faster_rcnn, variant=variant, detections_per_image=30)
    torch.manual_seed(0)
    detector: Any = build_detector(config, backbone, ("a", "b", "c"))
    for layer in (detector.rpn.head.cls_logits, detector.rpn.head.bbox_pred):
        torch.nn.init.normal_(layer.weight, std=0.1)
    for axis in detector.class_axes():
        torch.nn.init.normal_(detector.state_dict()[axis.tensor], std=0.1)
    detector.rpn._pre_nms_top_n = detector.rpn._post_nms_top_n = {"training": 40, "testing": 40}
    return detector


@pytest.fixture
def every_candidate(detector, monkeypatch) -> None:
    for sampler in (detector.rpn.fg_bg_sampler, detector.roi_heads.fg_bg_sampler):
        monkeypatch.setattr(sampler, "batch_size_per_image", 10_000)


def batch(objects: Sequence[Sequence[tuple[float, ...]]] = OBJECTS) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(3, *size, generator=generator) for size in SIZES[: len(objects)]]
    return Batch.of(images, [target(boxes) for boxes in objects], rows=4)


def target(boxes: Sequence[tuple[float, ...]]) -> Target:
    no = torch.zeros(len(boxes), dtype=torch.bool)
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Target(0, corners, torch.arange(len(boxes)) % 3, no, no, torch.ones(len(boxes)), (1, 1), (1, 1))


def features_of(detector: Any, given: Batch) -> Features:
    """Whose maps are leaves, for their gradients."""
    with torch.no_grad():
        found = detector.features(given)
    maps = {name: level.clone().requires_grad_() for name, level in found.maps.items()}
    return Features(found.batch, found.sizes_hw, maps, found.body_maps)


def torchvisions(detector: Any, given: Batch, features: Features, training: bool) -> tuple[Any, dict[str, Tensor]]:
    """Detections and losses of its own code, on our layers."""
    kept = detector.rpn, detector.roi_heads
    classes, modes = [type(part) for part in kept], [part.training for part in kept]
    images, maps = ImageList(features.batch, list(SIZES[: len(given)])), OrderedDict(features.maps)
    targets = [{"boxes": t.boxes_xyxy, "labels": t.labels + 1} for _, t in given.per_image()]
    try:
        detector.rpn.__class__, detector.roi_heads.__class__ = RegionProposalNetwork, RoIHeads
        detector.rpn.training = detector.roi_heads.training = training
        found, losses = detector.rpn(images, maps, targets if training else None)
        detections, more = detector.roi_heads(maps, found, images.image_sizes, targets if training else None)
    finally:
        for part, own, mode in zip(kept, classes, modes, strict=True):
            part.__class__, part.training = own, mode
    return detections, losses | more


def assert_same_gradients(
    found: dict[str, Tensor], expected: dict[str, Tensor], leaves: Sequence[Tensor], share: float
) -> None:
    """Of the sums, to `share` of the length of each leaf's."""
    totals = [torch.stack([loss.double() for loss in losses.values()]).sum() for losses in (found, expected)]
    ours, theirs = (torch.autograd.grad(one, leaves, materialize_grads=True, allow_unused=True) for one in totals)
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() <= share * other.norm() + 1e-9


# -------------------------------------------------------------------------------------------------- losses


@pytest.mark.parametrize("objects", [OBJECTS, [(), ()]], ids=["three", "no boxes"])
def test_losses_and_gradients_are_torchvisions(detector, every_candidate, objects):
    """In training mode: v2's head normalises over the regions of the batch. The gradients in float64: where an
    activation is nearly 0, float32 can lose that of a whole unit."""
    given = batch(objects)
    found, expected, _ = both(detector.train(), given)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)
    assert_same_gradients(
        *both(copy.deepcopy(detector).double(), given), share=1e-6
    )  # torchvision's labels are float32
    detector.eval()


def both(detector: Any, given: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor], list[Tensor]]:
    """Losses, torchvision's, and what they have gradients of."""
    features = features_of(detector, given)
    leaves = [*features.maps.values(), *detector.rpn.parameters(), *detector.roi_heads.parameters()]
    return detector.losses(given, features), torchvisions(detector, given, features, training=True)[1], leaves


def test_detections_are_torchvisions(detector):
    given = batch()
    with torch.no_grad():
        features = features_of(detector.eval(), given)
        found = detector.detect(given, features).per_image()
        expected, _ = torchvisions(detector, given, features, training=False)
    assert sum(len(one.scores) for one in found) > 30
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.labels + 1, other["labels"])
        torch.testing.assert_close(one.scores, other["scores"], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(one.boxes_xyxy, other["boxes"], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.3, 0.5, 0.9])
def test_no_class_above_the_threshold_is_left_out_of_a_proposal(detector, monkeypatch, threshold):
    """Only so many can be that their scores sum up to 1: none is suppressed here."""
    monkeypatch.setattr(detector.roi_heads, "score_thresh", threshold)
    monkeypatch.setattr(detector.roi_heads, "nms_thresh", 1.0)
    monkeypatch.setattr(detector.roi_heads, "detections_per_img", 1000)
    given = batch()
    with torch.no_grad():
        features = features_of(detector.eval(), given)
        found = detector.detect(given, features).per_image()
        expected, _ = torchvisions(detector, given, features, training=False)
    assert [len(one.scores) for one in found] == [len(other["scores"]) for other in expected]


# ------------------------------------------------------------------------------------------------- samples


def labels(counts: Sequence[tuple[int, int, int]]) -> Tensor:
    """(N, A): so many 1, 0 and -1 of each, mixed, and -1 to fill up with."""
    most, generator = max(sum(row) for row in counts), torch.Generator().manual_seed(0)
    rows = [torch.tensor([1] * p + [0] * n + [-1] * (most - p - n)) for p, n, _ in counts]
    return torch.stack([row[torch.randperm(most, generator=generator)] for row in rows])


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.01])
@pytest.mark.parametrize("size", [1, 7, 16, 100])
def test_so_many_of_each_kind_are_drawn_as_by_torchvision(size, fraction):
    given = labels([(0, 0, 9), (3, 30, 0), (20, 2, 5), (20, 30, 0), (0, 40, 1), (5, 0, 3), (1, 5, 0)])
    rows, drawn = balanced_sample(given == 1, given == 0, size, fraction)
    expected = BalancedPositiveNegativeSampler(size, fraction)(list(given))
    of_drawn = given.gather(1, rows).where(drawn, -1)
    for value, chosen in zip((1, 0), expected, strict=True):
        assert (of_drawn == value).sum(1).tolist() == [int(of_image.sum()) for of_image in chosen]
    assert ((of_drawn >= 0) == drawn).all()
    assert all(len(set(row[here].tolist())) == here.sum() for row, here in zip(rows, drawn, strict=True))
    assert (drawn.int().diff(dim=1) <= 0).all()


def test_every_candidate_of_a_kind_is_drawn_as_often_as_another():
    """Chi-square of how often each is, over 20,000 draws; 32.9 and 45.3 are its quantiles of 0.999 at 12 and 20 degrees
    of freedom. Draws without replacement have the share 1 - k/m of a binomial's variance."""
    torch.manual_seed(0)
    given = labels([(13, 21, 6)]).expand(20_000, -1)
    rows, drawn = balanced_sample(given == 1, given == 0, 16, 0.25)
    counts = torch.zeros(given.shape).scatter_add(1, rows, drawn.float()).sum(0)
    for value, chosen, quantile in ((1, 4, 32.9), (0, 12, 45.3)):
        own = counts[given[0] == value]
        expected = 20_000 * chosen / len(own)
        assert own.sum() == 20_000 * chosen
        spread = expected * (1 - chosen / len(own)) * len(own) / (len(own) - 1)
        assert 1 < ((own - expected) ** 2 / spread).sum() < quantile


def test_candidates_that_follow_change_no_draw():
    given = labels([(13, 21, 6), (2, 9, 0)])
    longer = torch.cat([given, torch.full((2, 5), -1)], dim=1)
    found = []
    for table in (given, longer):
        torch.manual_seed(0)
        rows, drawn = balanced_sample(table == 1, table == 0, 8, 0.5)
        found.append(rows.where(drawn, -1))
    assert torch.equal(*found)


# --------------------------------------------------------------------------------------- suppression, pooling


def crowd(generator: torch.Generator) -> Tensor:
    """(5, 80, 4) boxes of which many meet."""
    low = 40 * torch.rand(5, 80, 2, generator=generator)
    return torch.cat([low, low + 20 + 20 * torch.rand(5, 80, 2, generator=generator)], dim=-1)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_suppression_in_rounds_is_the_librarys(threshold):
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        boxes, present = crowd(generator), torch.rand(5, 80, generator=generator) < 0.9
        found = proposals.by_rounds(boxes, present, threshold)
        assert torch.equal(found, proposals.by_library(boxes, present, threshold))
        assert 5 < found.sum() < present.sum()


def test_after_all_rounds_no_two_that_meet_are_left():
    """Each meets the next alone: the fate of the last is known after as many rounds as there are boxes."""
    left = 3.0 * torch.arange(2 * proposals.ROUNDS)
    boxes = torch.stack([left, torch.zeros_like(left), left + 10, torch.ones_like(left)], dim=1)[None]
    kept = proposals.by_rounds(boxes, torch.ones(boxes.shape[:2], dtype=torch.bool), 0.5)[0]
    assert kept[: proposals.ROUNDS].tolist() == [i % 2 == 0 for i in range(proposals.ROUNDS)]
    assert (box_iou(boxes[0][kept], boxes[0][kept]).fill_diagonal_(0) <= 0.5).all()


def pyramid(sizes: Sequence[tuple[int, int]]) -> dict[str, Tensor]:
    return {str(i): torch.randn(2, 3, *size, requires_grad=True) for i, size in enumerate(sizes)}


PYRAMIDS = {"four": [(32, 48), (16, 24), (8, 12), (4, 6)], "two alike": [(4, 6), (4, 6)], "one": [(8, 12)]}


@pytest.mark.parametrize("sizes", PYRAMIDS.values(), ids=PYRAMIDS)
def test_pooling_from_all_levels_at_once_is_torchvisions(sizes):
    """Large and small boxes, slivers at every edge of the picture, and some without area."""
    torch.manual_seed(0)
    maps, canvas = pyramid(sizes), (128, 192)
    low = torch.rand(400, 2) * torch.tensor([192.0, 128.0])
    boxes = torch.cat([low, low + torch.rand(400, 2) ** 4 * 300], dim=1)
    boxes[::10, 0], boxes[1::10, 1], boxes[2::10, 2:], boxes[3::10, 2] = 191.8, 127.5, boxes[2::10, :2], 0.3
    boxes = torch.cat([boxes[:, :2], boxes[:, 2:].maximum(boxes[:, :2])], dim=1).minimum(torch.tensor([192, 128] * 2))
    pool = MultiScaleRoIAlign(list(maps), 7, 2)
    expected = pool(maps, [boxes[:150], boxes[150:]], [canvas, canvas])
    images = (torch.arange(400) >= 150).long()
    found = regions.pool_regions(pool, list(maps.values()), canvas, boxes, images)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    weights = torch.randn_like(found)
    sums = ({"": (one * weights).sum()} for one in (found, expected))
    assert_same_gradients(*sums, list(maps.values()), share=1e-5)


# ------------------------------------------------------------------------------------------------- waiting


@pytest.fixture
def as_on_a_device(monkeypatch) -> Callable[[], None]:
    """What is chosen where asking a tensor for a number would wait."""

    def choose() -> None:
        monkeypatch.setattr(proposals, "by_library", proposals.by_rounds)
        monkeypatch.setattr(regions, "rows_of", regions.all_rows)
        monkeypatch.setattr(suppression, "by_library", suppression.in_rounds)

    return choose


def test_losses_and_detections_wait_for_nothing_and_are_the_same(detector, as_on_a_device):
    given = batch()
    features = features_of(detector.eval(), given)
    one, other = results(detector, given, features), None
    as_on_a_device()
    with no_waiting():
        other = results(detector, given, features)
    for name, loss in one[0].items():
        torch.testing.assert_close(loss, other[0][name], rtol=1e-5, atol=1e-8)
    for found, expected in zip(one[1].per_image(), other[1].per_image(), strict=True):
        assert torch.equal(found.labels, expected.labels)
        torch.testing.assert_close(found.boxes_xyxy, expected.boxes_xyxy, rtol=1e-5, atol=1e-3)


def results(detector: Any, given: Batch, features: Features) -> tuple[dict[str, Tensor], Any]:
    torch.manual_seed(0)
    losses = detector.losses(given, features)
    torch.stack(list(losses.values())).sum().backward()
    detector.zero_grad()
    with torch.no_grad():
        detector.class_logits(features)
        return losses, detector.detect(given, features)


def test_what_is_computed_of_an_absent_region_is_a_present_one_of_its_image():
    """A normalisation over regions sees no others; where an image has none, its first row."""
    present = torch.tensor([[True, True, False, False, False], [False] * 5, [True] * 5])
    expected = [0, 1, 0, 1, 0, 5, 5, 5, 5, 5, 10, 11, 12, 13, 14]
    assert regions.all_rows(present).tolist() == expected
    assert regions.rows_of(present).tolist() == [0, 1, 10, 11, 12, 13, 14]
