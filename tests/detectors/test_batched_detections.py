"""What a batch's detections are is what torchvision makes of the same answers of the heads, image by image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

from headstart.config.schema import Architecture, BackboneConfig, BackboneLibrary, SSDVariant, Variant
from headstart.config.schemas import SCHEMAS
from headstart.data.types import Prediction
from headstart.detectors import suppression
from headstart.detectors.cells import CellDetector
from headstart.detectors.factory import build_detector
from headstart.detectors.ssd_tf import TfSSDDetector
from tests.waiting import no_waiting

LITE0 = BackboneConfig("efficientnet_lite0", BackboneLibrary.timm, "tf_efficientnet_lite0", neck_channels=64)
MOBILENET = BackboneConfig("mobilenetv2_100", BackboneLibrary.timm, "mobilenetv2_100", tensorflow=True)
NAMES = ["retinanet", "retinanet-v2", "fcos", "ssd", "ssd-tf", "ssdlite", "yolov3", "yolox"]
CANVAS, SIZES = (128, 160), ((128, 100), (90, 160), (128, 160))
"""Height and width."""


@dataclass
class Heads:
    """Drawn answers, where they are about, and the same for torchvision."""

    outputs: dict[str, Tensor]
    anchors: Tensor
    counts: list[int]


def build(name: str, classes: int) -> Any:
    architecture, _, variant = name.partition("-")
    settings = {"variant": SSDVariant.tf if variant == "tf" else Variant(variant)} if variant else {}
    config = SCHEMAS["model"][architecture](architecture=Architecture(architecture), channels_last=False, **settings)
    names = tuple(f"class {i}" for i in range(classes))
    return build_detector(config, MOBILENET if variant == "tf" else LITE0, names)


@pytest.fixture(scope="module", params=NAMES)
def detector(request, without_initialising) -> Any:
    with without_initialising():
        return build(request.param, 3)


def answers(detector: Any, mean: float = -3.0, seed: int = 0) -> Heads:
    """Some score high, most low."""
    generator = torch.Generator().manual_seed(seed)
    levels = 3 if isinstance(detector, CellDetector) else 6 if detector.background else 5
    cells = [(8, 10), (4, 5), (2, 3), (1, 2), (1, 1), (1, 1)][:levels]
    maps = {str(i): torch.zeros(len(SIZES), 1, *size) for i, size in enumerate(cells)}
    per_cell = detector.anchor_generator.num_anchors_per_location()
    counts = [h * w * count for (h, w), count in zip(cells, per_cell, strict=True)]
    shape, classes = (len(SIZES), sum(counts)), detector.background + len(detector.class_names)
    outputs = {
        "cls_logits": mean * (1 - detector.background) + 2 * torch.randn(*shape, classes, generator=generator),
        "bbox_regression": torch.randn(*shape, 4, generator=generator),
    }
    if detector.background:
        outputs["cls_logits"][..., 0] -= mean
    if "fcos" in type(detector).__name__.lower():
        outputs["bbox_regression"].abs_()
        outputs["bbox_ctrness"] = torch.randn(*shape, 1, generator=generator)
    if isinstance(detector, CellDetector):
        outputs["bbox_regression"][..., 2:] /= 3
        outputs["objectness"] = 3 + torch.randn(*shape, generator=generator)
    detector.head.forward = lambda _: outputs
    heads = detector._heads(torch.zeros(len(SIZES), 3, *CANVAS), maps)
    del detector.head.forward
    return Heads(*heads, counts)


def one_by_one(detector: Any, heads: Heads) -> list[Prediction]:
    """torchvision's own, which for TensorFlow's SSD and YOLO is written below."""
    if isinstance(detector, CellDetector):
        return [of_cells(detector, heads, image) for image in range(len(SIZES))]
    if isinstance(detector, TfSSDDetector):
        images = zip(heads.outputs["bbox_regression"], heads.outputs["cls_logits"].sigmoid(), SIZES, strict=True)
        return [of_tensorflow(detector, codes, scores, heads.anchors, size) for codes, scores, size in images]
    outputs: Any = heads.outputs
    anchors: list[Any] = [heads.anchors] * len(SIZES)
    if not detector.background:
        outputs = {name: list(output.split(heads.counts, dim=1)) for name, output in outputs.items()}
        anchors = [list(heads.anchors.split(heads.counts))] * len(SIZES)
    found = detector.postprocess_detections(outputs, anchors, list(SIZES))
    return [Prediction(one["boxes"], one["scores"], one["labels"] - detector.background) for one in found]


def of_cells(detector: Any, heads: Heads, image: int) -> Prediction:
    """Of each map the best pairs of anchor and class, and what suppression leaves of all."""
    boxes = clip_boxes_to_image(detector._decoded(heads.outputs["bbox_regression"][image], heads.anchors), SIZES[image])
    scores = heads.outputs["cls_logits"][image].sigmoid() * heads.outputs["objectness"][image].sigmoid()[:, None]
    found, first = [], 0
    for level in scores.split(heads.counts):
        best, pairs = level.flatten().nan_to_num(0).topk(min(detector.topk_candidates, level.numel()))
        keep, classes = best > detector.score_thresh, scores.shape[1]
        found.append((boxes[first + pairs[keep] // classes], best[keep], pairs[keep] % classes))
        first += len(level)
    candidates = [torch.cat(parts) for parts in zip(*found, strict=True)]
    kept = batched_nms(*candidates, detector.nms_thresh)[: detector.detections_per_img]
    return Prediction(*(part[kept] for part in candidates))


def of_tensorflow(detector: Any, codes: Tensor, scores: Tensor, anchors: Tensor, size: tuple[int, int]) -> Prediction:
    """The best of each class, what suppression leaves of them, and the best of that; class after class."""
    boxes = clip_boxes_to_image(detector.box_coder.decode_single(codes, anchors), list(size))
    best, places = scores[:, 1:].T.nan_to_num(0).topk(min(detector.topk_candidates, len(scores)))
    labels = torch.arange(len(best))[:, None].expand_as(places)
    keep = best > detector.score_thresh
    best, places, labels = best[keep], places[keep], labels[keep]
    kept = batched_nms(boxes[places], best, labels, detector.nms_thresh)[: detector.detections_per_img]
    return Prediction(boxes[places[kept]], best[kept], labels[kept])


def at_once(detector: Any, heads: Heads) -> list[Prediction]:
    return detector.detections_of(heads.outputs, heads.anchors, heads.counts, torch.tensor(SIZES)).per_image()


def assert_alike(found: Sequence[Prediction], expected: Sequence[Prediction]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.labels, other.labels)
        torch.testing.assert_close(one.scores, other.scores, rtol=1e-6, atol=0)
        torch.testing.assert_close(one.boxes_xyxy, other.boxes_xyxy, rtol=1e-6, atol=1e-5)


LIMITS = {
    "as they are": {},
    "few candidates": {"topk_candidates": 15},
    "few detections": {"detections_per_img": 7},
    "all": {"topk_candidates": 10**6, "detections_per_img": 10**6, "score_thresh": 0.0},
    "strict": {"score_thresh": 0.6, "nms_thresh": 0.2},
}


@pytest.mark.parametrize("limits", LIMITS)
def test_detections_are_those_of_each_image_alone(detector, limits, monkeypatch):
    for name, value in LIMITS[limits].items():
        monkeypatch.setattr(detector, name, value)
    heads = answers(detector)
    expected = one_by_one(detector, heads)
    assert_alike(at_once(detector, heads), expected)
    assert all(len(one.scores) > 3 for one in expected)


@pytest.mark.parametrize(("name", "classes"), [("retinanet", 1), ("ssd", 1), ("ssd-tf", 90), ("fcos", 90), ("ssd", 90)])
def test_one_class_and_many_are_no_other_case(name, classes, without_initialising):
    with without_initialising():
        detector = build(name, classes)
    heads = answers(detector)
    assert_alike(at_once(detector, heads), one_by_one(detector, heads))


def test_images_in_which_nothing_is_found_have_no_detections(detector):
    heads = answers(detector)
    for outputs in heads.outputs.values():
        outputs[1] = outputs[1].where(outputs[1] < -1e9, -50.0)
    if detector.background:
        heads.outputs["cls_logits"][1, :, 0] = 50.0
    found = at_once(detector, heads)
    assert [len(one.scores) > 0 for one in found] == [True, False, True]
    assert_alike(found, one_by_one(detector, heads))


def test_equal_scores_are_all_found(detector, monkeypatch):
    """Three different ones, in any order among equals."""
    monkeypatch.setattr(detector, "nms_thresh", 1.0)
    monkeypatch.setattr(detector, "topk_candidates", 10**6)
    monkeypatch.setattr(detector, "detections_per_img", 10**6)
    heads = answers(detector)
    for name in heads.outputs.keys() - {"bbox_regression"}:
        heads.outputs[name] = heads.outputs[name].sign()
    for one, other in zip(at_once(detector, heads), one_by_one(detector, heads), strict=True):
        torch.testing.assert_close(one.scores, other.scores, rtol=1e-6, atol=0)
        assert len(one.scores) > 50 > len(one.scores.unique())
        torch.testing.assert_close(in_order(one), in_order(other), rtol=1e-6, atol=1e-5)


def in_order(found: Prediction) -> Tensor:
    """Rows of label and box."""
    rows = torch.cat([found.labels[:, None].float(), found.boxes_xyxy], 1)
    for column in range(4, -1, -1):
        rows = rows[rows[:, column].argsort(stable=True)]
    return rows


def test_numbers_that_are_none_are_not_found(detector):
    heads = answers(detector)
    heads.outputs["cls_logits"][:, ::3] = torch.nan
    expected = one_by_one(detector, heads)
    assert_alike(at_once(detector, heads), expected)


def test_on_a_device_that_would_be_waited_for_nothing_waits(detector, monkeypatch):
    heads, sizes = answers(detector), torch.tensor(SIZES)
    expected = at_once(detector, heads)
    monkeypatch.setattr(suppression, "by_library", suppression.in_rounds)
    with no_waiting():
        found = detector.detections_of(heads.outputs, heads.anchors, heads.counts, sizes)
    assert_alike(found.per_image(), expected)
