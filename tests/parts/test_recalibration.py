"""Recalibrated statistics are those of the images, and nothing else in the detector has moved."""

import pytest
import torch

from headstart.config.schema import (
    Architecture,
    BackboneConfig,
    BackboneLibrary,
    FasterRCNNConfig,
    Variant,
)
from headstart.data.batch import Batch
from headstart.detectors.factory import build_detector
from headstart.errors import UserError
from headstart.parts.recalibration import recalibrate
from headstart.transfer.proof import moved, tensor_digests

BATCHNORM = ["backbone.stem.bn", "backbone.stage1.bn", "backbone.stage2.bn"]


@pytest.fixture
def batches():
    """Three of two images each, unlike one another."""
    generator = torch.Generator().manual_seed(0)
    return [Batch.of(shade * torch.rand(2, 3, 32, 32, generator=generator)) for shade in (0.2, 0.6, 1.0)]


class Seen:
    """What went into some layers of a detector, a tensor a batch; (values, channels)."""

    def __init__(self, detector, names):
        self.inputs = {name: [] for name in names}
        for name, inputs in self.inputs.items():
            detector.get_submodule(name).register_forward_pre_hook(
                lambda _, given, inputs=inputs: inputs.append(given[0].detach().double().movedim(1, -1).flatten(0, -2))
            )


def assert_statistics_of(layer, inputs):
    """Mean and (unbiased) variance of each batch, averaged over the batches."""
    means = torch.stack([x.mean(0) for x in inputs])
    torch.testing.assert_close(layer.running_mean.double(), means.mean(0), rtol=1e-4, atol=1e-6)
    within = [((x - x.mean(0)) ** 2).sum(0) / (len(x) - 1) for x in inputs]
    torch.testing.assert_close(layer.running_var.double(), torch.stack(within).mean(0), rtol=1e-4, atol=1e-6)


def test_statistics_of_the_first_and_of_deeper_layers_are_those_of_all_pixels(tiny, batches):
    detector = tiny()
    pixels = [detector.backbone.stem.conv(batch.images).detach().double() for batch in batches]
    seen = Seen(detector, BATCHNORM[1:])
    assert recalibrate(detector, batches, BATCHNORM) == 6
    first = detector.backbone.stem.bn
    assert_statistics_of(first, [x.movedim(1, -1).flatten(0, -2) for x in pixels])
    torch.testing.assert_close(first.running_mean.double(), torch.cat(pixels).mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    for name in BATCHNORM[1:]:
        assert_statistics_of(detector.get_submodule(name), seen.inputs[name])


def test_what_was_estimated_before_does_not_matter(tiny, batches):
    detector, other = tiny(), tiny()
    other.backbone.stem.bn.running_mean.fill_(100.0)
    other.backbone.stem.bn.num_batches_tracked.fill_(7)
    for each in (detector, other):
        recalibrate(each, batches, BATCHNORM)
    assert moved(tensor_digests(detector, detector.state_dict()), tensor_digests(other, other.state_dict())) == []


def test_nothing_but_the_named_layers_statistics_changes(tiny, batches):
    detector = tiny().train()
    detector.backbone.stem.eval()
    detector.backbone.stage1.bn.momentum = 0.03
    modes = {name: module.training for name, module in detector.named_modules()}
    before = tensor_digests(detector, detector.state_dict())
    recalibrate(detector, batches, ["backbone.stage1.bn"])
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    changed = moved(before, tensor_digests(detector, before))
    assert set(changed) == {f"backbone.stage1.bn.{name}" for name in statistics}
    assert {name: module.training for name, module in detector.named_modules()} == modes
    assert (detector.backbone.stage1.bn.momentum, detector.backbone.stem.bn.momentum) == (0.03, 0.1)
    assert all(parameter.grad is None for parameter in detector.parameters())


def test_dropout_is_off_and_no_random_number_is_drawn(tiny, batches):
    detector = tiny(neck_dropout=0.5).train()
    state = torch.random.get_rng_state()
    recalibrate(detector, batches, BATCHNORM)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_modes_and_momentum_come_back_after_an_error(tiny):
    detector = tiny().train()
    broken = Batch.of([torch.rand(3, 32, 32)])
    broken.images = torch.rand(1, 4, 32, 32)
    with pytest.raises(RuntimeError):
        recalibrate(detector, [broken], BATCHNORM)
    assert detector.training
    assert detector.backbone.stage2.drop.training
    assert detector.backbone.stem.bn.momentum == 0.1


def test_the_head_of_faster_rcnn_v2_is_recalibrated_too():
    torch.manual_seed(0)
    config = FasterRCNNConfig(architecture=Architecture.faster_rcnn, variant=Variant.v2)
    backbone = BackboneConfig("lite0", BackboneLibrary.timm, "tf_efficientnet_lite0", neck_channels=32)
    detector = build_detector(config, backbone, ["a", "b"])
    layers = [name for name, module in detector.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
    head = [name for name in layers if name.startswith("roi_heads.box_head")]
    assert len(head) == 4
    seen = Seen(detector, [head[0], head[-1], "backbone.fpn.inner_blocks.0.1"])
    images = torch.randint(0, 256, (2, 2, 3, 64, 64), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    assert recalibrate(detector, [Batch.of(pair) for pair in images], layers) == 4
    assert {int(detector.get_submodule(name).num_batches_tracked) for name in layers} == {2}
    for name, inputs in seen.inputs.items():
        assert_statistics_of(detector.get_submodule(name), inputs)


def test_without_a_layer_or_an_image_the_setting_is_refused(tiny, batches):
    with pytest.raises(UserError, match=r"strategy\.norm=recalibrate .*affine_only"):
        recalibrate(tiny(), batches, [])
    with pytest.raises(UserError, match=r"strategy\.norm=recalibrate .*images"):
        recalibrate(tiny(), [], BATCHNORM)
