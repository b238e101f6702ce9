"""The 91 slots of torchvision's COCO heads become the target's classes, from torch.hub's cache, without a network."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.models.detection import SSDLite320_MobileNet_V3_Large_Weights as Weights
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

from headstart.config.schema import Architecture, BackboneConfig, BackboneLibrary, CocoSourceConfig, SSDLiteConfig
from headstart.config.schema import SourceKind as Kind
from headstart.data.batch import Batch, Detections
from headstart.detectors.interface import ClassAxis, Detector, Features, Preprocessing, Stage
from headstart.errors import UserError
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.sources import load_source

MODEL = SSDLiteConfig(architecture=Architecture.ssdlite)
BACKBONE = BackboneConfig(
    name="mobilenet_v3_large", library=BackboneLibrary.torchvision, architecture="mobilenet_v3_large"
)
PREPROCESSING = Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLASSES = ("traffic_light", "wombat", "Person")


class SSDLite(Detector):
    """torchvision's own modules under torchvision's own names; six anchors per cell on six levels."""

    def __init__(self, class_names: tuple[str, ...]):
        super().__init__()
        net = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=1 + len(class_names))
        self.class_names, self.preprocessing = class_names, Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        self.backbone, self.head = net.backbone, net.head

    def class_axes(self) -> list[ClassAxis]:
        layers = [f"head.classification_head.module_list.{level}.1" for level in range(6)]
        return [ClassAxis(f"{layer}.{part}", 6, 1) for layer in layers for part in ("weight", "bias")]

    def stages(self) -> list[Stage]:
        return [Stage("stem", ("backbone",)), Stage("head", ("head",))]

    def losses(self, batch: Batch, features: Features | None = None) -> dict[str, Tensor]:
        raise NotImplementedError

    def detect(self, batch: Batch, features: Features | None = None) -> Detections:
        raise NotImplementedError

    def library_names(self) -> dict[str, str]:
        raise NotImplementedError


@pytest.fixture
def cached(tmp_path, monkeypatch) -> dict[str, Tensor]:
    """A file with the keys and shapes of torchvision's, where torch.hub would keep it."""
    torch.manual_seed(0)
    net = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=91)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / Path(Weights.COCO_V1.url).name
    path.parent.mkdir(parents=True)
    torch.save(net.state_dict(), path)
    return net.state_dict()


def load(detector: Detector, **settings):
    return load_source(CocoSourceConfig("coco", Kind.coco, **settings), MODEL, BACKBONE, detector)


def test_a_cached_file_loads_with_nothing_missing_but_class_rows(cached):
    torch.manual_seed(1)
    detector = SSDLite(CLASSES)
    weights = load(detector)
    report = apply_source(detector, weights)
    assert set(report.partial) == {axis.tensor for axis in detector.class_axes()}
    assert set(report.loaded) | set(report.partial) == set(cached)
    assert (report.new, report.unexpected, report.lineage) == ((), (), ("imagenet", "coco"))
    assert report.kept_classes == {"traffic_light": "traffic light", "Person": "person"}
    assert report.new_classes == ("wombat",)
    assert detector.preprocessing == PREPROCESSING


def test_kept_rows_are_those_of_the_coco_category(cached):
    """COCO's category ids are the rows: 1 is person, 10 is traffic light (cocodataset.org)."""
    detector = SSDLite(CLASSES)
    apply_source(detector, load(detector))
    bias = "head.classification_head.module_list.2.1.bias"
    ours, theirs = detector.state_dict()[bias].reshape(6, 4), cached[bias].reshape(6, 91)
    for row, category in {0: 0, 1: 10, 3: 1}.items():
        assert torch.equal(ours[:, row], theirs[:, category])
    assert len(cached[bias]) == 6 * 91


def test_a_named_file_goes_before_the_cache(cached, tmp_path):
    changed = {name: tensor + 1 for name, tensor in cached.items()}
    torch.save(changed, tmp_path / "mine.pth")
    weights = load(SSDLite(CLASSES), path=str(tmp_path / "mine.pth"))
    assert torch.equal(weights.tensors["backbone.features.0.0.0.weight"], changed["backbone.features.0.0.0.weight"])


def test_unknown_weights_and_unknown_combinations_are_refused_with_what_there_is(cached):
    with pytest.raises(UserError, match=r"source\.weights=COCO_V9 is none of COCO_V1"):
        load(SSDLite(CLASSES), weights="COCO_V9")
    other = replace(BACKBONE, name="mine", architecture="mobilenet_v3_small")
    with pytest.raises(UserError, match=r"model=ssdlite with backbone=mine.*model=ssdlite backbone=mobilenet_v3_large"):
        load_source(CocoSourceConfig("coco", Kind.coco), MODEL, other, SSDLite(CLASSES))
