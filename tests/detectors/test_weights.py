"""The table of published weights says what the libraries say, and every row loads: drawn files under their names."""

from pathlib import Path

import pytest
import torch
import torchvision
from torchvision.models import detection

from headstart.config.compose import compose
from headstart.config.fitting import words
from headstart.config.published import PUBLISHED, unlisted
from headstart.config.schema import BackboneConfig, BackboneLibrary
from headstart.config.weights import Package, Published, installed
from headstart.detectors.factory import build_detector
from headstart.errors import UserError
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.sources import load_source

OF_TORCHVISION = [
    row for row in PUBLISHED if isinstance(row.place, str) and row.place.startswith("https://download.pytorch.org")
]
PACKAGED = [row for row in PUBLISHED if isinstance(row.place, Package)]


def enum_of(row: Published):
    if row.architecture:
        return getattr(detection, row.title).COCO_V1
    return torchvision.models.get_model_weights(row.backbone)["IMAGENET1K_V1"]


def name(row: Published) -> str:
    return f"{row.source.value}-{row.architecture.value if row.architecture else row.part.value}-{row.backbone}"


@pytest.mark.parametrize("row", OF_TORCHVISION, ids=name)
def test_place_size_and_score_are_those_that_torchvision_states(row):
    found = enum_of(row)
    (metrics,) = found.meta["_metrics"].values()
    score = f"{metrics['box_map']} mAP" if row.architecture else f"{metrics['acc@1']} % top-1"
    assert (row.place, row.mib, row.score) == (found.url, found.meta["_file_size"], score)


@pytest.mark.parametrize("row", PACKAGED, ids=name)
def test_the_size_of_a_packaged_file_is_the_files(row):
    path = installed(row.place)
    if path is None:
        pytest.skip(f"pip install {row.place.install}")
    assert path.stat().st_size / 2**20 == pytest.approx(row.mib, abs=0.01)


def loaded(row: Published):
    """(detector, report)"""
    config = compose([*words(row), f"source={row.source.value}"])
    detector = build_detector(config.model, config.backbone, ("a", "cat"))
    return detector, apply_source(detector, load_source(config.source, config.model, config.backbone, detector))


@pytest.mark.slow
@pytest.mark.parametrize("row", OF_TORCHVISION, ids=name)
def test_every_row_of_torchvision_loads_from_the_cache(row, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / Path(row.place).name
    path.parent.mkdir(parents=True)
    if row.architecture:
        build = getattr(detection, row.title.removesuffix("_Weights").lower())
        network = build(weights=None, weights_backbone=None, num_classes=91)
    else:
        network = torchvision.models.get_model(row.backbone, weights=None)
    torch.save(network.state_dict(), path)
    detector, report = loaded(row)
    wanted = set(detector.state_dict()) if row.architecture else set(detector.library_names())
    assert wanted - {n for n in wanted if "num_batches" in n} <= {*report.loaded, *report.partial}
    assert report.kept_classes == ({"cat": "cat"} if row.architecture else {})


@pytest.mark.parametrize("row", PACKAGED, ids=name)
def test_every_packaged_row_loads(row):
    if installed(row.place) is None:
        pytest.skip(f"pip install {row.place.install}")
    _, report = loaded(row)
    assert report.loaded
    assert report.source == row.source.value


@pytest.mark.parametrize("row", OF_TORCHVISION, ids=name)
def test_without_a_network_every_row_refuses_with_its_remedy(row, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    config = compose([*words(row), f"source={row.source.value}"])
    with torch.device("meta"):
        detector = build_detector(config.model, config.backbone, ("a",))
    with pytest.raises(UserError, match=r"put it at .*checkpoints.*source\.path="):
        load_source(config.source, config.model, config.backbone, detector)


@pytest.mark.parametrize(
    ("name", "pictures"),
    [("vit_small_patch14_dinov2", "LVD-142M"), ("vit_small_patch16_dinov3", "LVD-1689M"), ("resnet18", "ImageNet-1k")],
)
def test_what_learnt_from_other_pictures_is_not_called_imagenets(name, pictures):
    assert unlisted(BackboneConfig(name, BackboneLibrary.timm, name)).trained_on == pictures
