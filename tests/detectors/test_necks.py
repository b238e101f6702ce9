"""Necks fuse maps as their papers say, attention weighs them, and both begin as what a source knows."""

import copy
from dataclasses import replace

import pytest
import timm.layers
import torch
import torch.nn.functional as F
from timm.layers.cbam import CbamModule
from timm.layers.coord_attn import CoordAttn
from torch import Tensor, nn
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from headstart.config.schema import Attention, Neck, NormPolicy
from headstart.detectors.attention import KINDS, Gated
from headstart.detectors.bifpn import BiFpn, BiFpnLayer
from headstart.detectors.factory import build_detector
from headstart.detectors.interface import Detector
from headstart.detectors.pan import PathAggregation
from headstart.errors import UserError
from headstart.transfer.freezing import frozen_tensors
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.types import SourceWeights
from tests.detectors import test_contract as contract
from tests.detectors import test_split as splitting

PYRAMIDS = ("retinanet", "fcos", "faster_rcnn")
SMALL = contract.choice("backbone", "efficientnet_lite0", neck_channels=64)


def build(model: str, seed: int = 0, **settings: object) -> Detector:
    torch.manual_seed(seed)
    config = replace(contract.choice("model", model), **settings)
    return build_detector(config, SMALL, contract.CLASSES).eval()


def maps_of(detector: Detector) -> list[Tensor]:
    with torch.no_grad():
        return list(detector.features(splitting.BATCH).maps.values())


def filled(module: nn.Module, mean: float = 0.3) -> nn.Module:
    """No tensor is at its beginning."""
    torch.manual_seed(3)
    for parameter in module.parameters():
        nn.init.normal_(parameter, mean, 0.3)
    return module


# --------------------------------------------------------------------------------------------------- necks


def test_path_aggregation_is_the_papers_sum_on_torchvisions_pyramid() -> None:
    torch.manual_seed(0)
    neck = PathAggregation([3, 5, 7], 8, LastLevelP6P7(8, 8))
    maps = {str(i): torch.rand(2, width, 16 >> i, 24 >> i) for i, width in enumerate((3, 5, 7))}
    extra = neck.extra_blocks
    with torch.no_grad():
        filled(neck)
        found = list(neck(maps).values())
        p3, p4, p5 = (
            torch.nn.Conv2d.__call__(neck.layer_blocks[i][0], level) for i, level in enumerate(_downwards(neck, maps))
        )
        n4 = neck.fused[0](p4 + neck.down[0](p3))
        n5 = neck.fused[1](p5 + neck.down[1](n4))
        p6 = extra.p6(n5)
        expected = [p3, n4, n5, p6, extra.p7(p6.relu())]
    assert [tuple(level.shape[2:]) for level in found] == [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
    torch.testing.assert_close(found, expected)


def _downwards(neck: nn.Module, maps: dict[str, Tensor]) -> list[Tensor]:
    """Each cell of a coarser map beside four of the finer one."""
    c3, c4, c5 = (neck.inner_blocks[i](level) for i, level in enumerate(maps.values()))
    down4 = c4 + c5.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return [c3 + down4.repeat_interleave(2, 2).repeat_interleave(2, 3), down4, c5]


def node(fused: nn.Module, *maps: Tensor) -> Tensor:
    """Equation 3 of the paper ("fast normalized fusion"), and the convolutions of its section 3.3."""
    weights = fused.weights.clamp(min=0)
    x = sum(w * level for w, level in zip(weights, maps, strict=True)) / (weights.sum() + 0.0001)
    x = x * torch.sigmoid(x)
    x = F.conv2d(x, fused.depthwise.weight, padding=1, groups=x.shape[1])
    x = torch.einsum("nchw,oc->nohw", x, fused.pointwise.weight[:, :, 0, 0])
    return F.group_norm(x, fused.norm.num_groups, fused.norm.weight, fused.norm.bias)


def test_a_layer_of_bifpn_is_the_papers_equations() -> None:
    layer = filled(BiFpnLayer(8, 4))
    with torch.no_grad():
        layer.down[1].weights[0] = -1.0  # no weight is below 0
        p3, p4, p5, p6 = (torch.rand(2, 8, 16 >> i, 24 >> i) for i in range(4))
        found = layer([p3, p4, p5, p6])
        up = lambda level: level.repeat_interleave(2, 2).repeat_interleave(2, 3)  # noqa: E731
        down = lambda level: F.max_pool2d(level, 3, 2, 1)  # noqa: E731
        down5 = node(layer.down[2], p5, up(p6))
        down4 = node(layer.down[1], p4, up(down5))
        out3 = node(layer.down[0], p3, up(down4))
        out4 = node(layer.up[0], p4, down4, down(out3))
        out5 = node(layer.up[1], p5, down5, down(out4))
        out6 = node(layer.up[2], p6, down(out5))
    torch.testing.assert_close(found, [out3, out4, out5, out6])


@pytest.mark.parametrize("extra", [LastLevelP6P7(16, 16), LastLevelMaxPool()], ids=["p6 and p7", "pooled"])
def test_bifpn_fuses_all_maps_those_behind_the_body_among_them(extra) -> None:
    neck = BiFpn([3, 5], 16, extra)
    found = neck({"0": torch.rand(1, 3, 6, 10), "1": torch.rand(1, 5, 3, 5)})
    assert all(level.shape[1] == 16 for level in found.values())
    for level in found.values():
        first = torch.autograd.grad(level.sum(), neck.layers[0].up[0].pointwise.weight, retain_graph=True)[0]
        assert first.abs().sum() > 0


@pytest.mark.parametrize("model", PYRAMIDS)
def test_path_aggregation_begins_as_the_pyramid_with_the_same_seed(model) -> None:
    plain, extended = maps_of(build(model)), maps_of(build(model, neck=Neck.pan))
    torch.testing.assert_close(extended, plain, atol=1e-5, rtol=1e-5)
    assert len(plain) == 5


# ----------------------------------------------------------------------------------------------- attention


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", PYRAMIDS)
def test_attention_begins_as_identity_with_the_same_seed(model, kind) -> None:
    for one, other in zip(maps_of(build(model, attention=kind)), maps_of(build(model)), strict=True):
        assert torch.equal(one, other)


def timms(kind: Attention, ours: nn.Module, channels: int) -> nn.Module:
    """The same kind, of another library, with our weights."""
    layers = dict(ours.named_children())
    if kind is Attention.se:
        theirs, convolutions = timm.layers.SEModule(channels, rd_channels=8), [*layers["layers"][::2]]
    elif kind is Attention.cbam:
        theirs = CbamModule(channels, rd_channels=8, mlp_bias=True)
        convolutions = [*layers["layers"][::2], layers["places"]]
        layers["places"].bias.data.zero_()
    elif kind is Attention.eca:
        theirs, convolutions = timm.layers.EcaModule(channels), [layers["layer"]]
    else:
        norm = lambda width, **_: copy.deepcopy(layers["shared"][1])  # noqa: E731
        theirs = CoordAttn(channels, rd_channels=8, bias=True, norm_layer=norm)
        convolutions = [layers["shared"][0], layers["rows"], layers["columns"]]
    here = [module for module in theirs.modules() if isinstance(module, nn.Conv1d | nn.Conv2d)]
    for one, other in zip(here, convolutions, strict=True):
        one.load_state_dict({name: other.state_dict()[name] for name in one.state_dict()})
    return theirs.eval()


@pytest.mark.parametrize("kind", KINDS)
def test_with_an_open_gate_attention_is_that_of_another_library(kind) -> None:
    ours = KINDS[kind](96)
    assert isinstance(ours, Gated)
    theirs, level = timms(kind, filled(ours, mean=0.0), 96), torch.randn(2, 96, 7, 12)
    with torch.no_grad():
        ours.gate.fill_(1.0)
        torch.testing.assert_close(ours(level), theirs(level), atol=1e-4, rtol=1e-4)
        ours.gate.fill_(0.5)
        torch.testing.assert_close(ours(level), (level + theirs(level)) / 2, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_step_opens_the_gate_and_the_second_moves_the_rest(kind) -> None:
    torch.manual_seed(0)
    module, level = KINDS[kind](32), torch.randn(2, 32, 8, 8)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    before = copy.deepcopy(module.state_dict())
    for step in range(2):
        optimizer.zero_grad()
        module(level).square().mean().backward()
        optimizer.step()
        moved = {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}
        assert moved == ({"gate"} if step == 0 else set(before))


# ------------------------------------------------------------------------------------------ the whole network

NETWORKS = {
    "retinanet-pan-cbam": ("retinanet", Neck.pan, Attention.cbam),
    "retinanet-bifpn-coordinate": ("retinanet", Neck.bifpn, Attention.coordinate),
    "fcos-bifpn-se": ("fcos", Neck.bifpn, Attention.se),
    "faster_rcnn-bifpn-eca": ("faster_rcnn", Neck.bifpn, Attention.eca),
    "faster_rcnn-pan-none": ("faster_rcnn", Neck.pan, Attention.none),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_stages_hold_neck_and_attention_once_and_borders_lie_in_front_and_behind(name) -> None:
    model, neck, attention = NETWORKS[name]
    detector = contract.quick(build(model, neck=neck, attention=attention))
    for parameter in detector.get_submodule("backbone.attention").parameters():
        nn.init.normal_(parameter, 0.1, 0.1)
    owner = contract.stage_of_tensor(detector)
    added = [each for each in owner if each.startswith(detector.optional)]
    assert {owner[each] for each in added} == {"neck"}
    assert any("attention" in each for each in added) == (attention is not Attention.none)
    with torch.no_grad():
        assert splitting.differences(detector, ["stage4", "neck"]) == []


@pytest.mark.parametrize("name", NETWORKS)
def test_every_tensor_of_neck_and_attention_is_trained_by_the_losses(name) -> None:
    model, neck, attention = NETWORKS[name]
    detector = contract.quick(build(model, neck=neck, attention=attention))
    for parameter in detector.parameters():
        parameter.data += 0.01 * torch.rand_like(parameter)
    sum(detector.losses(splitting.BATCH).values(), torch.zeros(())).backward()
    owner = contract.stage_of_tensor(detector)
    still = [name for name, p in detector.named_parameters() if owner[name] == "neck" and not contract.gradient_size(p)]
    assert still == []


@pytest.mark.parametrize("name", NETWORKS)
def test_of_a_source_with_torchvisions_neck_what_is_added_is_new_and_never_frozen(name) -> None:
    model, neck, attention = NETWORKS[name]
    source, detector = build(model, seed=1), build(model, neck=neck, attention=attention)
    weights = SourceWeights("coco", source.state_dict(), ("",), tuple(_rows(source)))
    report = apply_source(detector, weights)
    added = {each for each in detector.state_dict() if each.startswith(detector.optional)}
    assert set(report.new) == added
    assert len(added) > 3
    assert set(report.loaded) == set(detector.state_dict()) - added
    left_out = {each for each in source.state_dict() if ".layer_blocks." in each} if neck is Neck.bifpn else set()
    assert set(report.unexpected) == left_out
    stages = [stage.name for stage in detector.stages()]
    frozen = frozen_tensors(detector, stages, NormPolicy.frozen, report.loaded)
    assert frozen == set(detector.state_dict()) - added
    if neck is Neck.pan:
        torch.testing.assert_close(maps_of(detector), maps_of(source), atol=1e-4, rtol=1e-4)


def _rows(detector: Detector) -> list[str]:
    background = any(axis.background for axis in detector.class_axes())
    return [*(["__background__"] if background else []), *detector.class_names]


def test_what_a_source_has_besides_is_refused_and_not_left_out() -> None:
    source = build("retinanet", neck=Neck.pan, attention=Attention.se)
    weights = SourceWeights("checkpoint", source.state_dict(), ("",), tuple(source.class_names))
    with pytest.raises(UserError, match=r"(?s)unknown to this detector: backbone\.attention\.levels.*model\.neck"):
        apply_source(build("retinanet"), weights)


def test_names_of_the_plain_neck_are_torchvisions() -> None:
    names = [name for name in build("retinanet").state_dict() if not name.startswith(("backbone.body", "head"))]
    blocks = [f"{kind}_blocks.{i}.0" for kind in ("inner", "layer") for i in range(3)]
    layers = [*blocks, "extra_blocks.p6", "extra_blocks.p7"]
    assert names == [f"backbone.fpn.{layer}.{part}" for layer in layers for part in ("weight", "bias")]
