"""Head surgery on the real architectures: rows follow their class names."""

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
SIZE = 96
BEST = 20
"""Detections per class that are compared."""


def build(architecture: Architecture, class_names: tuple[str, ...], seed: int) -> Detector:
    """Random, with class rows far enough apart that no two scores tie."""
    config = SCHEMAS["model"][architecture.value](
        architecture=architecture,
        score_threshold=0.0,
        nms_threshold=1.0,
        detections_per_image=100_000,
        channels_last=False,
    )
    torch.manual_seed(seed)
    detector = build_detector(config, LITE0, class_names)
    with torch.no_grad():
        for axis in detector.class_axes():
            detector.state_dict()[axis.tensor].normal_(std=0.02)
    return detector.eval()


def class_outputs(detector: Detector, image: Tensor) -> list[Tensor]:
    """Output of every layer with class rows, as (anchors, background + classes, block, cells or boxes)."""
    outputs: list[Tensor] = []
    for axis in detector.class_axes():
        layer, _, part = axis.tensor.rpartition(".")
        if part == "weight":
            shape = (axis.anchors, axis.background + len(detector.class_names), axis.block, -1)
            rows = slice(None) if axis.background == 0 else slice(1, None)

            def keep(module, inputs, output, shape=shape, rows=rows):
                # (rows, images * cells), or (rows, boxes); queries, of one image, in an order that has no ties
                flat = output[0].sort(dim=0).values.T if output.ndim == 3 else output.transpose(0, 1).flatten(1)
                outputs.append(flat.reshape(shape)[:, rows])

            detector.get_submodule(layer).register_forward_hook(keep)
    with torch.no_grad():
        detector.predict([image])
    return outputs


@pytest.mark.parametrize("architecture", [one for one in Architecture if one is not Architecture.extension], ids=str)
def test_logits_of_kept_classes_are_unchanged_on_every_architecture(architecture, weights_of):
    image = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    source, target = build(architecture, ("a", "b", "c"), 1), build(architecture, ("c", "new", "a"), 2)
    report = apply_source(target, weights_of(source))
    before, after = class_outputs(source, image), class_outputs(target, image)
    assert len(before) == len(after) > 0
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(old[:, 0], new[:, 2])  # a convolution may sum its channels in another order
        torch.testing.assert_close(old[:, 2], new[:, 0])
        assert not torch.allclose(old[:, 1], new[:, 1])
    assert report.new_classes == ("new",)
    assert set(report.partial) == {axis.tensor for axis in target.class_axes()}
    assert set(report.loaded) | set(report.partial) == set(target.state_dict())


@pytest.mark.parametrize("architecture", [one for one in Architecture if one is not Architecture.extension], ids=str)
def test_classes_in_another_order_give_the_same_detections(architecture, weights_of):
    """The independent proof of `class_axes`: what a layout claims is what the network computes.

    Suppression is off: it amplifies a tie that rounding breaks the other way.
    """
    image = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    source, target = build(architecture, ("a", "b", "c"), 1), build(architecture, ("c", "b", "a"), 2)
    apply_source(target, weights_of(source))
    with torch.no_grad():
        (old,), (new,) = source.predict([image]), target.predict([image])
    assert len(old.labels) > 0
    for name in "abc":
        here, there = old.labels == source.class_names.index(name), new.labels == target.class_names.index(name)
        best = min(BEST, int(here.sum()))
        # Of queries the best pairs are found, as many as there are queries, of whatever class.
        assert best > 0 or (isinstance(source, QueryDetector) and not there.any())
        if best == 0:
            continue
        torch.testing.assert_close(new.scores[there][:best], old.scores[here][:best], atol=1e-4, rtol=0)
        apart = (new.boxes_xyxy[there][:best, None] - old.boxes_xyxy[here]).abs().amax(2)
        assert apart.amin(1).max() < 1e-2
