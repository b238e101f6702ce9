"""Adapters change frozen weights by a low rank, and leave the plain network when they are merged."""

import copy
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from headstart.conf_path import conf_dir
from headstart.config.schema import BackboneConfig, BackboneLibrary
from headstart.config.schemas import SCHEMAS
from headstart.data.batch import Batch
from headstart.data.types import Target
from headstart.detectors.detr import QueryDetector
from headstart.detectors.factory import build_detector
from headstart.detectors.interface import Detector, stage_of_tensor
from headstart.errors import UserError
from headstart.parts.adapters import adaptable, add_adapters, merge_adapters, original_name

LITE0 = BackboneConfig("efficientnet_lite0", BackboneLibrary.timm, "tf_efficientnet_lite0", neck_channels=64)
BACKBONES = {"ssd_tf": BackboneConfig("mobilenetv2_100", BackboneLibrary.timm, "mobilenetv2_100", tensorflow=True)}
"""Of models that are defined on one network."""
MODELS = sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml"))
RANK, ALPHA = 4, 8.0
IMAGES = [torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]


@pytest.fixture(scope="module", params=MODELS)
def untouched(request) -> Detector:
    content = OmegaConf.load(conf_dir() / "model" / f"{request.param}.yaml")
    assert isinstance(content, DictConfig)
    schema = SCHEMAS["model"][content.pop("defaults")[0].removeprefix("schema_")]
    torch.manual_seed(0)
    model: Any = OmegaConf.to_object(OmegaConf.merge(schema, content))
    detector = build_detector(model, BACKBONES.get(request.param, LITE0), ("a", "b", "c"))
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # the images' own statistics: with random weights and others every signal fades
    with torch.no_grad():
        detector.train().predict(IMAGES)
    if isinstance(detector, QueryDetector):
        detector.double()  # which query is of which object must not hang on the last digits
    return detector.eval()


@pytest.fixture
def detector(untouched) -> Detector:
    return copy.deepcopy(untouched)


def losses(detector: Detector) -> dict[str, Tensor]:
    box, no, area = torch.tensor([[8.0, 8.0, 48.0, 40.0]]), torch.tensor([False]), torch.tensor([1280.0])
    targets = [Target(i, box, torch.tensor([i]), no, no, area, (64, 96), (64, 96)) for i in (0, 1)]
    torch.manual_seed(0)  # Faster R-CNN draws the regions it learns from
    return detector.losses(Batch.of(IMAGES, targets))


def adapt(detector: Detector, weights=None) -> dict[str, tuple[str, ...]]:
    """Adapters on all weights, with changes of which each alone would be seen."""
    added = add_adapters(detector, weights or adaptable(detector), RANK, ALPHA)
    for _, b in added.values():
        nn.init.normal_(detector.get_parameter(b), std=0.02)
    return added


def layout(detector: Detector) -> list[tuple[str, torch.Size]]:
    return [(name, tensor.shape) for name, tensor in detector.state_dict().items()]


def weight_of(detector: Detector, name: str) -> Tensor:
    weight = detector.get_submodule(name.removesuffix(".weight")).weight
    assert isinstance(weight, Tensor)
    return weight


# -------------------------------------------------------------------------------------------- the five models


@torch.no_grad()
def test_new_adapters_change_no_output(untouched, detector):
    before = losses(untouched)
    add_adapters(detector, adaptable(detector), RANK, ALPHA)
    # A product of matrices is summed in an order that hangs on where a weight lies.
    rounding = 1e-9 if isinstance(detector, QueryDetector) else 0
    torch.testing.assert_close(losses(detector), before, rtol=rounding, atol=rounding)


@torch.no_grad()
def test_merged_it_is_the_plain_network_with_the_outputs_it_had(untouched, detector):
    adapt(detector)
    before = losses(detector)
    least = {name: 0 if name.endswith("ddf") else 1e-4 for name in before}  # D-FINE's layers hardly differ yet
    assert all(abs(before[name] - loss) > least[name] for name, loss in losses(untouched).items())
    merge_adapters(detector)
    torch.testing.assert_close(losses(detector), before, rtol=1e-5, atol=1e-5)
    assert layout(detector) == layout(untouched)
    assert [type(module) for module in detector.modules()] == [type(module) for module in untouched.modules()]


def test_only_the_adapters_of_a_frozen_network_learn(detector):
    added = add_adapters(detector.requires_grad_(False), adaptable(detector), RANK, ALPHA)
    torch.stack(list(losses(detector).values())).sum().backward()
    gradients = {name for name, parameter in detector.named_parameters() if parameter.grad is not None}
    assert gradients == {name for names in added.values() for name in names}
    moved = {name for name in gradients if torch.count_nonzero(detector.get_parameter(name).grad)}
    owner = stage_of_tensor(detector)
    assert {owner[name] for name in moved} >= {"stem", "stage1", "stage2", "stage3", "head"}  # SSD's boxes lie on C3
    assert moved <= {b for _, b in added.values()}  # while B is zero, A's gradient is


def test_adapters_lie_in_the_stages_of_their_weights(detector):
    stages = stage_of_tensor(detector)
    added = adapt(detector)
    now = stage_of_tensor(detector)
    assert all(now[name] == stages[weight] for weight, names in added.items() for name in names)


def test_every_convolution_and_linear_layer_can_have_one(detector):
    matrices = {name for name, tensor in detector.state_dict().items() if tensor.ndim in (2, 4)}
    assert adaptable(detector) == matrices


# ------------------------------------------------------------------------------------------------- the formula


def one_layer(layer: nn.Module, rank: int = RANK) -> tuple[nn.Module, Tensor, Tensor]:
    """`layer` with an adapter, its A and its B."""
    network = nn.Sequential(layer)
    (names,) = add_adapters(network, ["0.weight"], rank, ALPHA).values()  # type: ignore[arg-type]
    a, b = (network.get_parameter(name) for name in names)
    nn.init.normal_(b)
    return network, a, b


@torch.no_grad()
def test_a_depthwise_convolution_computes_the_sum_written_out():
    layer = nn.Conv2d(5, 5, 3, groups=5, bias=False).double()
    weight = layer.weight.clone()
    network, a, b = one_layer(layer)
    assert (a.shape, b.shape) == ((RANK, 9), (5, RANK))
    image = torch.rand(1, 5, 4, 4, dtype=torch.float64)
    expected = torch.zeros(1, 5, 2, 2, dtype=torch.float64)
    for o in range(5):
        for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
            for k in range(3):
                for l in range(3):  # noqa: E741
                    change = sum(b[o, r] * a[r, 3 * k + l] for r in range(RANK))
                    expected[0, o, y, x] += (weight[o, 0, k, l] + ALPHA / RANK * change) * image[0, o, y + k, x + l]
    torch.testing.assert_close(network(image), expected)


@torch.no_grad()
def test_a_convolution_equals_two_in_a_row_beside_it_as_in_peft():
    plain = nn.Conv2d(6, 7, 3, stride=2, padding=1)
    network, a, b = one_layer(copy.deepcopy(plain))
    image = torch.rand(2, 6, 9, 9)
    beside = F.conv2d(F.conv2d(image, a.reshape(RANK, 6, 3, 3), stride=2, padding=1), b[:, :, None, None])
    torch.testing.assert_close(network(image), plain(image) + ALPHA / RANK * beside)


@torch.no_grad()
def test_a_linear_layer_equals_two_in_a_row_beside_it():
    plain = nn.Linear(6, 7)
    network, a, b = one_layer(copy.deepcopy(plain))
    x = torch.rand(2, 6)
    torch.testing.assert_close(network(x), plain(x) + ALPHA / RANK * (x @ a.T) @ b.T)


@torch.no_grad()
@pytest.mark.parametrize(("layer", "rank"), [(nn.Conv2d(8, 3, 1), 3), (nn.Conv2d(20, 20, 3, groups=20), 9)])
def test_the_smaller_side_limits_the_rank_and_the_factor_goes_by_that(layer, rank):
    weight = layer.weight.clone()
    network, a, b = one_layer(layer, rank=16)
    assert (len(a), b.shape[1]) == (rank, rank)
    change = (b @ a).reshape(weight.shape)
    torch.testing.assert_close(weight_of(network, "0.weight"), weight + ALPHA / rank * change)  # type: ignore[arg-type]


def test_a_starts_within_peft_s_bounds_and_b_at_zero(tiny):
    detector = tiny()
    (names,) = add_adapters(detector, ["backbone.stage2.conv.weight"], 8, ALPHA).values()
    a, b = (detector.get_parameter(name) for name in names)
    bound = (6 * 9) ** -0.5  # kaiming_uniform(a=sqrt 5): 1 / sqrt(inputs of the kernel)
    assert 0.9 * bound < a.abs().max() <= bound
    assert not b.any()


# ------------------------------------------------------------------------------------------------------ living


def test_the_memory_layout_of_the_weights_stays(tiny):
    detector = tiny().to(memory_format=torch.channels_last)
    name = "backbone.stage1.conv.weight"
    adapt(detector)
    assert weight_of(detector, name).is_contiguous(memory_format=torch.channels_last)
    assert not weight_of(detector, name).is_contiguous()
    merge_adapters(detector)
    assert weight_of(detector, name).is_contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def test_in_bf16_the_weight_is_the_one_that_will_be_merged(tiny):
    detector = tiny().eval()
    adapt(detector)
    name = "backbone.stage1.conv.weight"
    images = [image[:, :64, :64] for image in IMAGES]
    with torch.autocast("cpu", torch.bfloat16):
        weight, before = weight_of(detector, name), detector.logits(images)
    merge_adapters(detector)
    assert torch.equal(weight_of(detector, name), weight)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(detector.logits(images), before)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda detector: AveragedModel(detector).module])
def test_a_copy_is_of_its_own_and_merging_one_leaves_the_other(tiny, copied):
    detector = tiny().eval()
    adapt(detector)
    other = copied(detector)
    expected = detector.logits(IMAGES)
    with torch.no_grad():
        for _, parameter in detector.named_parameters():
            parameter.mul_(2)
    merge_adapters(detector)
    assert torch.equal(other.logits(IMAGES), expected)
    merge_adapters(other)
    torch.testing.assert_close(other.logits(IMAGES), expected)
    assert not torch.allclose(detector.logits(IMAGES), expected)


def test_the_average_of_a_training_is_that_of_its_tensors(tiny):
    detector = tiny()
    added = adapt(detector)
    average = AveragedModel(detector, avg_fn=lambda old, new, _: 0.75 * old + 0.25 * new)
    average.update_parameters(detector)  # the first is a copy
    _, name = added["head.cls.weight"]
    before = detector.get_parameter(name).detach().clone()
    detector.get_parameter(name).data.add_(4)
    average.update_parameters(detector)
    torch.testing.assert_close(average.module.get_parameter(name), before + 1)


def test_a_checkpoint_gives_an_adapted_detector_its_state(tiny, tmp_path):
    detector, resumed = tiny().eval(), tiny(seed=1).eval()
    adapt(detector)
    adapt(resumed)
    torch.save(detector.state_dict(), tmp_path / "last.ckpt")
    resumed.load_state_dict(torch.load(tmp_path / "last.ckpt", weights_only=True), strict=True)
    assert torch.equal(resumed.logits(IMAGES), detector.logits(IMAGES))


def test_a_weight_has_its_other_name_and_is_frozen_while_adapted(tiny):
    detector = tiny()
    weight = detector.get_parameter("head.cls.weight")
    add_adapters(detector, ["head.cls.weight"], RANK, ALPHA)
    original = detector.get_parameter(original_name("head.cls.weight"))
    assert original is weight
    assert [name for name, p in detector.named_parameters() if not p.requires_grad] == [
        original_name("head.cls.weight")
    ]
    merge_adapters(detector)
    assert detector.get_parameter("head.cls.weight") is weight
    assert not weight.requires_grad


def test_only_the_chosen_weights_change_and_no_order_of_them_matters(tiny):
    chosen = ["head.cls.weight", "backbone.stem.conv.weight"]
    one, other, plain = tiny(), tiny(), tiny()
    for detector, weights in ((one, chosen), (other, reversed(chosen))):
        torch.manual_seed(5)
        adapt(detector, list(weights))
        merge_adapters(detector)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
        assert torch.equal(tensor, plain.state_dict()[name]) == (name not in chosen)


def test_merging_without_adapters_does_nothing(tiny):
    detector, before = tiny(), tiny()
    nn.utils.parametrizations.weight_norm(detector.head.box)  # as a backbone's library may do
    torch.testing.assert_close(detector.head.box.weight, before.head.box.weight)
    names = list(detector.state_dict())
    merge_adapters(detector)
    assert list(detector.state_dict()) == names
    assert "head.box.weight" not in adaptable(detector)


@pytest.mark.parametrize(("rank", "alpha", "text"), [(0, 1.0, "rank=0"), (4, -1.0, r"alpha=-1\.0")])
def test_settings_with_which_nothing_would_be_learnt_are_refused(tiny, rank, alpha, text):
    with pytest.raises(UserError, match=rf"strategy\.adapters\.{text} is not above 0"):
        add_adapters(tiny(), ["head.cls.weight"], rank, alpha)
