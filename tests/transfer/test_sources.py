"""Each kind of source gives its tensors under the detector's names, or says why it cannot."""

import pytest
import torch

from headstart.config.schema import (
    Architecture,
    BackboneConfig,
    BackboneLibrary,
    ImageNetConfig,
    ModelConfig,
    RetinaNetConfig,
    ScratchConfig,
    SourceKind,
)
from headstart.detectors.interface import Preprocessing
from headstart.errors import UserError
from headstart.transfer import sources
from headstart.transfer.head_surgery import apply_source

MODEL: ModelConfig = RetinaNetConfig(architecture=Architecture.retinanet)
BACKBONE = BackboneConfig(name="tiny", library=BackboneLibrary.timm, architecture="tiny")
IMAGENET = ImageNetConfig(name="imagenet", kind=SourceKind.imagenet)
MEAN_STD = Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.fixture
def library(tiny, monkeypatch):
    """The backbone library's state dict, with a classifier, of a backbone like that of `tiny`."""
    state = {ours: tensor for ours, tensor in tiny(seed=1).state_dict().items() if ours.startswith("backbone.")}
    given = {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
    given |= {"classifier.weight": torch.zeros(10, 8), "classifier.bias": torch.zeros(10)}
    monkeypatch.setattr(sources, "imagenet_state", lambda backbone, path, known=(): (given, MEAN_STD, "a package"))
    return given


def test_scratch_fills_nothing(tiny):
    detector = tiny()
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    source = sources.load_source(ScratchConfig("scratch", SourceKind.scratch), MODEL, BACKBONE, detector)
    report = apply_source(detector, source)
    assert (report.source, report.loaded, report.lineage) == ("scratch", (), ())
    assert report.new == tuple(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in detector.state_dict().items())


def test_imagenet_finds_its_places_by_library_name_and_leaves_the_classifier(tiny, library):
    detector = tiny()
    report = apply_source(detector, sources.load_source(IMAGENET, MODEL, BACKBONE, detector))
    assert torch.equal(detector.backbone.stage1.conv.weight, library["stage1.conv.weight"])
    assert set(report.loaded) == {name for name in detector.state_dict() if name.startswith("backbone.")}
    assert report.unexpected == ("classifier.bias", "classifier.weight")
    assert (report.lineage, report.where, detector.preprocessing) == (("imagenet",), "a package", MEAN_STD)


def test_imagenet_weights_of_another_backbone_are_refused(tiny, library):
    del library["stage2.conv.weight"]
    detector = tiny()
    with pytest.raises(
        UserError, match=r"(?s)source=imagenet \(a package\).*backbone\.stage2\.conv\.weight.*backbone="
    ):
        apply_source(detector, sources.load_source(IMAGENET, MODEL, BACKBONE, detector))
