"""Feature maps are the library's own, of the strides asked for; what cannot be had is refused by name."""

import copy

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from headstart.config.schema import Architecture, BackboneConfig, BackboneLibrary, SSDConfig
from headstart.data.batch import Batch
from headstart.detectors import backbones
from headstart.detectors.backbones import Body, build_body, set_norm_eps
from headstart.detectors.factory import build_detector
from headstart.detectors.timm_features import only_side
from headstart.detectors.vit import pyramid_body
from headstart.errors import UserError

STRIDES = (4, 8, 16, 32)
TORCHVISION_MAPS = {
    "resnet18": ("layer1", "layer2", "layer3", "layer4"),
    "vgg16": ("features.15", "features.22", "features.29", "features.30"),
    "vgg19": ("features.17", "features.26", "features.35", "features.36"),
    "mobilenet_v2": ("features.3", "features.6", "features.13", "features.18"),
    "mobilenet_v3_large": ("features.3", "features.6", "features.12", "features.16"),
    "convnext_tiny": ("features.1", "features.3", "features.5", "features.7"),
}
"""Layers of the classifier that give C2 to C5."""
TIMM_NETWORKS = (
    "tf_efficientnet_lite0",
    "resnet18",
    "regnety_002",
    "convnext_atto",
    "swin_tiny_patch4_window7_224",
    "dla34",  # counts its maps from its second
)


def body_of(library: BackboneLibrary, name: str, strides: tuple[int, ...] = STRIDES) -> Body:
    return build_body(BackboneConfig(name, library, name), strides)


def timm_body(name: str, strides: tuple[int, ...] = STRIDES) -> Body:
    return body_of(BackboneLibrary.timm, name, strides)


def maps_of(body: Body, images: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return list(body.module.eval()(images).values())


def outputs_of(model: nn.Module, layers: tuple[str, ...], images: Tensor) -> list[Tensor]:
    """Of the named layers, in one pass of the whole model."""
    outputs: dict[str, Tensor] = {}
    for layer in layers:
        model.get_submodule(layer).register_forward_hook(
            lambda module, inputs, output, layer=layer: outputs.__setitem__(layer, output.clone())
        )
    with torch.no_grad():
        model.eval()(images)
    return [outputs[layer] for layer in layers]


def take_weights(model: nn.Module, body: Body) -> None:
    """By `library_names`: the rest is the classifier's."""
    state = {theirs: body.module.state_dict()[ours] for ours, theirs in body.library_names.items()}
    assert model.load_state_dict(state, strict=False).unexpected_keys == []


def fill(body: Body) -> None:
    """Every tensor its own values: no two layers could be swapped unseen."""
    torch.manual_seed(0)
    for tensor in body.module.state_dict().values():
        if tensor.dim() > 1:
            tensor.normal_(std=tensor[0].numel() ** -0.5)
        elif tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)


def images(height: int = 64, width: int = 96) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def assert_maps_are(found: list[Tensor], expected: list[Tensor], body: Body) -> None:
    assert [level.shape[1] for level in found] == list(body.channels)
    assert [tuple(level.shape[2:]) for level in found] == [(64 // stride, 96 // stride) for stride in STRIDES]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", TORCHVISION_MAPS)
def test_torchvisions_maps_are_those_of_its_classifier(name, without_initialising):
    with without_initialising():
        body, model = body_of(BackboneLibrary.torchvision, name), torchvision.models.get_model(name, weights=None)
    fill(body)
    take_weights(model, body)
    assert_maps_are(maps_of(body, images()), outputs_of(model, TORCHVISION_MAPS[name], images()), body)


@pytest.mark.parametrize("name", TIMM_NETWORKS)
def test_timms_maps_are_those_of_its_classifier(name, without_initialising):
    fixed = timm.get_pretrained_cfg(name).fixed_input_size
    with without_initialising():
        body, model = timm_body(name), timm.create_model(name, **({"strict_img_size": False} if fixed else {}))
    fill(body)
    take_weights(model, body)
    layers = {info["reduction"]: info["module"] for info in model.feature_info}
    expected = outputs_of(model, tuple(layers[stride] for stride in STRIDES), images())
    if name.startswith("swin"):
        expected = [level.permute(0, 3, 1, 2) for level in expected]
    assert_maps_are(maps_of(body, images()), expected, body)


@pytest.mark.parametrize("strides", [(8, 16, 32), (16,), (4, 32)], ids=str)
@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0"])
def test_the_strides_asked_for_are_the_maps_given(name, strides):
    library = BackboneLibrary.timm if name.startswith("tf") else BackboneLibrary.torchvision
    found = maps_of(body_of(library, name, strides), images())
    assert [64 // level.shape[2] for level in found] == list(strides)


def test_a_map_as_high_as_it_has_channels_is_not_taken_for_another_layout(without_initialising):
    """Swin gives (N, H, W, C): of 384 pixels, its first map has 96 rows and 96 channels."""
    with without_initialising():
        body = timm_body("swin_tiny_patch4_window7_224", (4,))
    (level,) = maps_of(body, images(384, 32))
    assert level.shape == (1, 96, 96, 8)


def test_a_copy_of_timms_network_has_weights_of_its_own():
    """As the moving average of the weights takes it."""
    body = timm_body("tf_efficientnet_lite0", (32,))
    (before,) = maps_of(body, images())
    copied = copy.deepcopy(body.module)
    for parameter in copied.parameters():
        parameter.data.zero_()
    with torch.no_grad():
        assert not copied(images())["0"].any()
    assert torch.equal(maps_of(body, images())[0], before)
    assert before.any()


def test_timms_network_follows_its_module_into_another_precision():
    body = timm_body("tf_efficientnet_lite0", (32,))
    body.module.double()
    assert maps_of(body, images().double())[0].dtype == torch.float64


def test_a_timm_name_with_the_tag_of_its_weights_is_the_same_network(without_initialising):
    with without_initialising():
        plain, tagged = timm_body("resnet18"), timm_body("resnet18.a1_in1k")
    assert tagged.library_names == plain.library_names
    assert tagged.stages == plain.stages


def test_epsilon_is_set_in_the_backbone_alone():
    detector = nn.ModuleDict({"backbone": timm_body("tf_efficientnet_lite0").module, "head": nn.BatchNorm2d(1)})
    set_norm_eps(detector, 0.25)
    found = [module.eps for module in detector["backbone"].modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(found) > 40
    assert set(found) == {0.25}
    assert detector["head"].eps == 1e-5


@pytest.mark.parametrize(
    ("library", "name", "message"),
    [
        (BackboneLibrary.torchvision, "alexnet", r"alexnet: of torchvision, resnet\*, .*vgg16\*.* are supported.*timm"),
        (BackboneLibrary.torchvision, "resnet19", "resnet19 is not a classifier of torchvision"),
        (BackboneLibrary.timm, "resnet18x", "resnet18x is no timm model. Near: none"),
        (BackboneLibrary.timm, "lite0", "lite0 is no timm model. Near: .*efficientnet_lite0"),
        (BackboneLibrary.timm, "vit_tiny_patch16_224", r"vit_tiny_patch16_224 has feature maps of strides \[16\], not"),
        (BackboneLibrary.timm, "mvitv2_tiny", "mvitv2_tiny: timm does not name its stages one by one"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(library, name, message, without_initialising):
    with without_initialising(), pytest.raises(UserError, match=rf"backbone\.architecture={message}"):
        body_of(library, name)


def vit(name: str, strides: tuple[int, ...]) -> Body:
    return pyramid_body(BackboneConfig(name, BackboneLibrary.timm, name), strides)


def test_a_transformers_map_is_its_last_normalised_tokens_of_the_size_asked_for():
    """Patches of 16 pixels: the canvas as it is."""
    body, model = vit("test_vit", (8, 16, 32)), timm.create_model("test_vit", num_classes=0, dynamic_img_size=True)
    fill(body)
    take_weights(model, body)
    (found,) = maps_of(body, images())
    with torch.no_grad():
        tokens = model.eval().forward_features(images())[:, model.num_prefix_tokens :]
    torch.testing.assert_close(found, tokens.transpose(1, 2).unflatten(2, (4, 6)))


def test_patches_of_14_pixels_lie_on_16_of_the_canvas(without_initialising):
    with without_initialising():
        body = vit("vit_small_patch14_dinov2", (4, 8, 16, 32))
        model = timm.create_model("vit_small_patch14_dinov2", num_classes=0, dynamic_img_size=True)
    fill(body)
    take_weights(model, body)
    smaller = nn.functional.interpolate(images(), (56, 84), mode="bilinear")
    (found,) = maps_of(body, images())
    with torch.no_grad():
        tokens = model.eval().forward_features(smaller)[:, 1:]
        levels = body.pyramid({"0": found})
    torch.testing.assert_close(found, tokens.transpose(1, 2).unflatten(2, (4, 6)))
    assert [tuple(level.shape[1:]) for level in levels.values()] == [
        (96, 16, 24),
        (192, 8, 12),
        (384, 4, 6),
        (384, 2, 3),
    ]
    assert body.channels == (96, 192, 384, 384)
    assert [stage.name for stage in body.stages] == ["stem", *(f"stage{i}" for i in range(1, 5))]


def test_a_transformer_with_other_patches_is_refused(without_initialising):
    with without_initialising(), pytest.raises(UserError, match="patches of 32 pixels: 14 and 16 are"):
        vit("vit_small_patch32_224", (8, 16, 32))


def test_a_network_of_one_size_says_which_and_others_do_not():
    """timm calls both fixed; Swin can be told otherwise."""
    assert only_side("coatnet_0_rw_224") == 224
    assert only_side("swin_tiny_patch4_window7_224") is None
    assert only_side("resnet18") is None


def test_the_head_of_ssd_sees_body_maps_of_unit_size_whatever_the_backbone():
    """Raw maps of EfficientNet-Lite0 made its loss begin at 100."""
    torch.manual_seed(0)
    backbone = BackboneConfig("lite0", BackboneLibrary.timm, "tf_efficientnet_lite0")
    detector = build_detector(SSDConfig(Architecture.ssd), backbone, ("a", "b")).eval()
    with torch.no_grad():
        for parameter in detector.backbone.body.parameters():
            parameter.mul_(3)
        maps = list(detector.features(Batch.of([torch.rand(3, 300, 300)])).maps.values())[:3]
    assert [level.shape[1] for level in maps] == [40, 112, 320]
    for level in maps:
        assert level.square().mean(dim=1).sqrt().mean() == pytest.approx(1.0, abs=1e-3)


def test_a_network_that_cannot_be_built_without_values_is_built_with_them_and_draws_nothing(monkeypatch):
    """timm's RegNets ask torch.unique for their widths, which torch 2.11 does not answer without values."""
    create, wanted = timm.create_model, backbones.timm_names(timm_body("resnet10t").module, "resnet10t")

    def with_values(*args, **options):
        if torch.empty(0).is_meta:
            raise NotImplementedError("aten::_unique2")
        return create(*args, **options)

    monkeypatch.setattr(timm, "create_model", with_values)
    module = timm_body("resnet10t").module
    before = torch.get_rng_state()
    assert backbones.timm_names(module, "resnet10t") == wanted
    assert torch.equal(torch.get_rng_state(), before)
