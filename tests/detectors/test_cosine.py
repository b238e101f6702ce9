"""The cosine head against its formula, written out in numpy; names, shapes and random numbers are the plain head's."""

import copy
from typing import Any, cast

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from headstart.conf_path import conf_dir
from headstart.config.schema import BackboneConfig, BackboneLibrary
from headstart.config.schemas import SCHEMAS
from headstart.data.batch import Batch
from headstart.data.types import Target
from headstart.detectors.cosine import CosineConv2d, CosineLinear, use_cosine_head
from headstart.detectors.factory import build_detector
from headstart.detectors.interface import Detector
from headstart.errors import UserError

LITE0 = BackboneConfig("efficientnet_lite0", BackboneLibrary.timm, "tf_efficientnet_lite0", neck_channels=64)
BACKBONES = {"ssd_tf": BackboneConfig("mobilenetv2_100", BackboneLibrary.timm, "mobilenetv2_100", tensorflow=True)}
"""Of models that are defined on one network."""
MODELS = sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml"))
LAYERS = {
    "d_fine": 4,
    "rt_detr": 4,
    "faster_rcnn": 1,
    "fcos": 1,
    "retinanet": 1,
    "ssd": 6,
    "ssd_tf": 6,
    "ssdlite": 6,
    "yolov3": 3,
    "yolox": 3,
}
"""Last classification layers: some have one for each map, D-FINE and RT-DETR one for each layer and one more that
chooses their queries."""
SCALE = 20.0
IMAGES = [torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]


def build(model: str) -> Detector:
    content = OmegaConf.load(conf_dir() / "model" / f"{model}.yaml")
    assert isinstance(content, DictConfig)
    schema = SCHEMAS["model"][content.pop("defaults")[0].removeprefix("schema_")]
    config: Any = OmegaConf.to_object(OmegaConf.merge(schema, content))
    torch.manual_seed(0)
    return build_detector(config, BACKBONES.get(model, LITE0), ("a", "b", "c"))


def cosine(plain: nn.Module) -> Any:
    return CosineConv2d(plain, SCALE) if isinstance(plain, nn.Conv2d) else CosineLinear(cast(nn.Linear, plain), SCALE)


def cosines(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(vectors, inputs) and (rows, inputs) -> (vectors, rows)."""
    lengths = np.sqrt((x**2).sum(1))[:, None] * np.sqrt((weight**2).sum(1))[None]
    return x @ weight.T / lengths


def expected(layer: nn.Module, x: Tensor) -> np.ndarray:
    """(vectors or patches, rows): scale * cos + bias, in double precision."""
    if isinstance(layer, nn.Conv2d):
        unfold = nn.Unfold(layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # type: ignore[arg-type]
        x = unfold(x).transpose(1, 2).flatten(0, 1)
    else:
        x = x.flatten(0, -2)
    weight, bias = (layer.get_parameter(name).detach().double().numpy() for name in ("weight", "bias"))
    return SCALE * cosines(x.double().numpy(), weight.reshape(len(weight), -1)) + bias


def as_rows(output: Tensor) -> np.ndarray:
    """(images, rows, H, W) or (vectors, rows) -> (patches or vectors, rows)."""
    rows = output.flatten(2).transpose(1, 2).flatten(0, 1) if output.ndim == 4 else output.flatten(0, -2)
    return rows.detach().double().numpy()


# ------------------------------------------------------------------------------------------------- the formula


@pytest.mark.parametrize(
    "plain",
    [
        nn.Conv2d(5, 7, 3, padding=1),
        nn.Conv2d(5, 7, 1),
        nn.Conv2d(5, 7, (3, 2), stride=2, padding=(1, 0), dilation=2),
        nn.Conv2d(5, 7, 3, padding="same"),
    ],
    ids=["3x3", "1x1", "strided", "same"],
)
def test_a_convolution_is_the_cosine_with_the_patch_under_the_kernel(plain):
    x = torch.randn(2, 5, 9, 8)
    layer = CosineConv2d(plain, SCALE)
    assert layer(x).shape == plain(x).shape
    if plain.padding == "same":
        plain.padding = (1, 1)
    np.testing.assert_allclose(as_rows(layer(x)), expected(plain, x), rtol=1e-5, atol=1e-5)


def test_a_linear_layer_is_the_cosine_with_its_input():
    plain, x = nn.Linear(6, 4), torch.randn(3, 6)
    np.testing.assert_allclose(as_rows(CosineLinear(plain, SCALE)(x)), expected(plain, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("plain", [nn.Conv2d(5, 7, 3, bias=False), nn.Linear(5, 7, bias=False)])
def test_without_bias_the_scale_is_the_largest_logit(plain):
    layer = cosine(plain)
    row = plain.weight[2].detach() * 1000
    logits = layer(row[None]).flatten()
    assert logits[2].item() == pytest.approx(SCALE, rel=1e-5)
    assert logits.argmax() == 2


@pytest.mark.parametrize("plain", [nn.Conv2d(5, 7, 3), nn.Linear(5, 7)])
def test_zeros_have_the_cosine_0_and_finite_gradients(plain):
    layer = cosine(copy.deepcopy(plain))
    with torch.no_grad():
        layer.weight[3] = 0
    x = torch.zeros(1, 5, 3, 3) if isinstance(plain, nn.Conv2d) else torch.zeros(1, 5)
    x.requires_grad_()
    logits = layer(x)
    torch.testing.assert_close(logits.flatten(), layer.bias)
    logits.sum().backward()
    for tensor in (x, layer.weight, layer.bias):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


@pytest.mark.parametrize("plain", [nn.Conv2d(257, 2, 1), nn.Linear(257, 2)])
def test_lengths_are_exact_in_bf16(plain):
    """257 ones have the length sqrt(257); bf16 has no 257, and no number nearer to it than 256 or 258."""
    layer = cosine(copy.deepcopy(plain))
    nn.init.zeros_(layer.get_parameter("bias"))
    ones = torch.ones(1, 257)
    first = (torch.arange(257) == 0).float()[None]
    for x, row in ((ones, first), (first, ones)):
        layer.get_parameter("weight").data.copy_(row.reshape(1, *plain.weight.shape[1:]))
        with torch.autocast("cpu", torch.bfloat16):
            logits = layer(x if isinstance(plain, nn.Linear) else x[..., None, None])
        assert logits.dtype == torch.float32
        np.testing.assert_allclose(as_rows(logits), SCALE / 257**0.5, rtol=1e-6)


# --------------------------------------------------------------------------------------------- the five models


@pytest.mark.parametrize("model", MODELS)
def test_a_cosine_head_has_the_tensors_of_the_plain_one_and_draws_nothing(model):
    detector = build(model)
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    parameters = list(detector.parameters())
    state = torch.get_rng_state()
    use_cosine_head(detector, SCALE)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(one is other for one, other in zip(parameters, detector.parameters(), strict=True))
    assert list(detector.state_dict()) == list(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in detector.state_dict().items())


@torch.no_grad()
@pytest.mark.parametrize("model", MODELS)
def test_the_last_classification_layers_and_no_others_follow_the_formula(model):
    detector = build(model)
    use_cosine_head(detector, SCALE)
    calls: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for name, module in detector.named_modules():
        if isinstance(module, CosineConv2d | CosineLinear):
            module.register_forward_hook(lambda _, x, y, name=name: calls.setdefault(name, []).append((x[0], y)))
    detector.train().predict(IMAGES)
    classification = {axis.tensor.rpartition(".")[0] for axis in detector.class_axes() if axis.block == 1}
    classification -= {"head.denoising"}  # an embedding of the classes
    assert set(calls) == classification
    assert len(classification) == LAYERS[model]
    for name, pairs in calls.items():
        for x, y in pairs:
            wanted = expected(detector.get_submodule(name), x)
            np.testing.assert_allclose(as_rows(y), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_a_cosine_head_learns_the_directions_of_its_rows_and_not_their_lengths(model):
    """So each row's gradient is orthogonal to the row."""
    detector = build(model)
    use_cosine_head(detector, SCALE)
    box, no, area = torch.tensor([[8.0, 8.0, 48.0, 40.0]]), torch.tensor([False]), torch.tensor([1280.0])
    targets = [Target(i, box, torch.tensor([i]), no, no, area, (64, 96), (64, 96)) for i in (0, 1)]
    torch.stack(list(detector.losses(Batch.of(IMAGES, targets)).values())).sum().backward()
    layers = [axis.tensor for axis in detector.class_axes() if axis.block == 1 and axis.tensor.endswith("weight")]
    layers = [name for name in layers if not isinstance(detector.get_submodule(name.rpartition(".")[0]), nn.Embedding)]
    weights = [detector.get_parameter(name) for name in layers]  # of several maps, one may have learnt of the objects
    weight = max(weights, key=lambda one: 0.0 if one.grad is None else one.grad.abs().sum().item())
    assert weight.grad is not None
    lengths = weight.grad.flatten(1).norm(dim=1)
    assert lengths.max() > 1e-3
    along = (weight.grad * weight).flatten(1).sum(1) / weight.flatten(1).norm(dim=1)
    assert (along.abs() <= 1e-3 * lengths.max()).all()


def test_faster_rcnn_s_boxes_stay_as_they_are():
    detector = build("faster_rcnn")
    use_cosine_head(detector, SCALE)
    assert type(detector.get_submodule("roi_heads.box_predictor.bbox_pred")) is nn.Linear


@pytest.mark.parametrize("scale", [0.0, -20.0, float("nan"), float("inf")])
def test_a_scale_that_is_no_number_above_0_is_refused(tiny, scale):
    with pytest.raises(UserError, match=rf"strategy\.cosine_scale={scale} .*use 20"):
        use_cosine_head(tiny(), scale)


def test_the_mode_of_the_layer_stays(tiny):
    detector = tiny().eval()
    use_cosine_head(detector, SCALE)
    assert not detector.head.cls.training
