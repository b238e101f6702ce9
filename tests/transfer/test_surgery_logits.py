"""A source that knows (a, b, c), a target with (c, new, a): what all five heads say about a and c is unchanged.

Compared are torchvision's own outputs, which know nothing of our `class_axes`: logits of every anchor or cell, and for
Faster R-CNN logits and box deltas of the same proposals; of D-FINE and RT-DETR transformers' logits of every cell. In
double precision, as a convolution with other channels may sum in another order.
"""

import math

import pytest
import torch
from torch import Tensor

from headstart.config.schema import Architecture, BackboneConfig, BackboneLibrary
from headstart.config.schemas import SCHEMAS
from headstart.detectors.detr import QueryDetector
from headstart.detectors.factory import build_detector
from headstart.detectors.interface import Detector
from headstart.transfer.head_surgery import apply_source

LITE0 = BackboneConfig("efficientnet_lite0", BackboneLibrary.timm, "tf_efficientnet_lite0", neck_channels=64)
IMAGE = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(0))
SOURCE, TARGET = ("a", "b", "c"), ("c", "new", "a")
KEPT = {"a": (0, 2), "c": (2, 0)}
"""Class -> its place in the source's classes and in the target's."""
NEW = 1
BACKGROUND = {"faster_rcnn": 1, "ssd": 1, "ssdlite": 1} | dict.fromkeys(
    ("retinanet", "fcos", "yolov3", "yolox", "d_fine", "rt_detr"), 0
)
"""Rows before the first class, by the papers: softmax heads have a background, sigmoid heads have none."""
PRIOR = -math.log((1 - 0.01) / 0.01)
"""Bias of a class that fires once in a hundred anchors (Lin et al., ICCV 2017, 4.1)."""
APART = 1e-2
"""Mean difference by which outputs of different classes can be told apart."""


@pytest.fixture(params=[one for one in Architecture if one is not Architecture.extension], ids=str)
def architecture(request) -> Architecture:
    return request.param


def build(architecture: Architecture, class_names: tuple[str, ...], seed: int) -> Detector:
    torch.manual_seed(seed)
    return build_detector(SCHEMAS["model"][architecture.value](architecture=architecture), LITE0, class_names).eval()


def trained(architecture: Architecture) -> Detector:
    """As after training: each row of each class, weight and bias, is another."""
    detector = build(architecture, SOURCE, seed=1)
    with torch.no_grad():
        for axis in detector.class_axes():
            detector.state_dict()[axis.tensor].normal_(std=0.1)
    return detector


def outputs(detector: Detector) -> dict[str, Tensor]:
    """`logits` (anchors or proposals, rows); of Faster R-CNN also `deltas` (proposals, rows, 4) and `proposals`: what
    the last layers are given of each."""
    found: dict[str, Tensor] = {}

    def keep(module, inputs, output):
        if isinstance(output, Tensor):
            found["logits"] = output[0]
        elif isinstance(output, dict):
            found["logits"] = output["cls_logits"][0]
        else:
            found["proposals"], found["logits"] = inputs[0], output[0]
            found["deltas"] = output[1].reshape(len(output[1]), -1, 4)

    two_stage = hasattr(detector, "roi_heads")
    dense = "head.enc_score_head" if isinstance(detector, QueryDetector) else "head"
    detector.get_submodule("roi_heads.box_predictor" if two_stage else dense).register_forward_hook(keep)
    with torch.no_grad():
        detector.double().predict([IMAGE])
    assert set(found) == ({"logits", "deltas", "proposals"} if two_stage else {"logits"})
    assert len(found["logits"]) > 0
    return found


def assert_same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def assert_apart(found: Tensor, other: Tensor) -> None:
    assert (found - other).abs().mean() > APART


def test_logits_of_kept_classes_and_of_the_background_are_unchanged(architecture, weights_of):
    source, target = trained(architecture), build(architecture, TARGET, seed=2)
    apply_source(target, weights_of(source))
    before, after, first = outputs(source), outputs(target), BACKGROUND[architecture.value]
    if "proposals" in before:
        assert_same(after.pop("proposals"), before.pop("proposals"))
    for name, old in before.items():
        new = after[name]
        assert old.shape == new.shape
        assert old.shape[1] == first + 3
        for here, there in KEPT.values():
            assert_same(new[:, first + there], old[:, first + here])
        if first:
            assert_same(new[:, 0], old[:, 0])
        assert_apart(old[:, first], old[:, first + 2])


def test_outputs_of_a_new_class_are_those_of_a_fresh_head(architecture, weights_of):
    """Beside a network with the source's features whose head had no surgery."""
    source, target, fresh = trained(architecture), build(architecture, TARGET, 2), build(architecture, TARGET, 2)
    over_classes = {axis.tensor for axis in source.class_axes()}
    rest = {name: tensor for name, tensor in source.state_dict().items() if name not in over_classes}
    assert set(fresh.load_state_dict(rest, strict=False).missing_keys) == over_classes
    apply_source(target, weights_of(source))
    expected, found, row = outputs(fresh), outputs(target), BACKGROUND[architecture.value] + NEW
    for name in {"logits", "deltas"} & set(found):
        assert_same(found[name][:, row], expected[name][:, row])
        assert_apart(found[name][:, row + 1], expected[name][:, row + 1])  # a came from the source


@pytest.mark.parametrize(("focal", "anchors"), [(Architecture.retinanet, 9), (Architecture.fcos, 1)])
def test_a_new_class_of_a_focal_head_begins_at_the_prior_probability(focal, anchors, weights_of):
    source, target = trained(focal), build(focal, TARGET, seed=2)
    apply_source(target, weights_of(source))
    bias = target.state_dict()["head.classification_head.cls_logits.bias"].reshape(anchors, 3)
    torch.testing.assert_close(bias[:, NEW], torch.full((anchors,), PRIOR))
    assert (bias[:, [0, 2]] - PRIOR).abs().min() > 1
