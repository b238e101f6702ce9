"""An exported model is the detector that was trained, on its own; a damaged one is refused and runs nothing."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from headstart.config import schema as s
from headstart.data.transforms import resize
from headstart.data.types import DatasetInfo, Size
from headstart.detectors.cosine import CosineConv2d, use_cosine_head
from headstart.detectors.factory import build_detector
from headstart.detectors.interface import Detector, Preprocessing
from headstart.errors import UserError
from headstart.inference import export
from headstart.inference.export import load_exported, read_exported, save_exported

NAMES = ("cat", "a dog", "étoile")
INFO = DatasetInfo("toys", NAMES, "0", {"train": 1, "val": 1}, {}, "0", min_size=64, max_size=96)
SEEN = {"mean": [0, 0, 0], "std": [1, 1, 1], "min_size": 64, "max_size": 96}
BACKBONE = s.BackboneConfig("lite0", s.BackboneLibrary.timm, "tf_efficientnet_lite0", neck_channels=64)
MODELS = {
    "retinanet": s.RetinaNetConfig(s.Architecture.retinanet, score_threshold=0.0, anchor_scale=0.5),
    "faster_rcnn": s.FasterRCNNConfig(s.Architecture.faster_rcnn, score_threshold=0.0),
    "fcos": s.FCOSConfig(s.Architecture.fcos, score_threshold=0.0),
    "ssdlite": s.SSDLiteConfig(s.Architecture.ssdlite, score_threshold=0.0),
    "yolov3": s.YOLOv3Config(s.Architecture.yolov3, score_threshold=0.0, anchors=[[8 + i, 9] for i in range(9)]),
}
IMAGES = [
    torch.randint(0, 256, (3, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for size in ((64, 96), (96, 64))
]


def trained(name: str) -> Detector:
    """Every tensor away from its initial value, as after training: BatchNorm statistics too."""
    torch.manual_seed(0)
    detector = build_detector(MODELS[name], BACKBONE, NAMES)
    with torch.no_grad():
        for tensor in detector.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1 + 0.1 * torch.rand_like(tensor))
    return detector.eval()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    save_exported(folder, trained("retinanet"), MODELS["retinanet"], BACKBONE, INFO, None, ["imagenet", "toys"])
    return folder


@pytest.fixture
def exported(original: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(original, tmp_path / "exported"))


def edit(folder: Path, **changes: Any) -> None:
    """Changes the description; `...` takes a key away."""
    path = folder / "model.json"
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not ...}))


@pytest.mark.parametrize("name", MODELS)
def test_detections_before_and_after_are_bit_equal(tmp_path: Path, name: str) -> None:
    before = trained(name)
    before.preprocessing = Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))  # not the backbone's own
    for module in before.get_submodule("backbone").modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 0.5  # not the backbone's own either
    save_exported(tmp_path, before, MODELS[name], BACKBONE, INFO, 0.5, [])
    after, _ = load_exported(tmp_path)
    with torch.inference_mode():
        pairs = list(zip(before.predict(IMAGES), after.predict(IMAGES), strict=True))
    assert sum(len(one.scores) for one, _ in pairs) > 0
    for one, other in pairs:
        assert torch.equal(one.boxes_xyxy, other.boxes_xyxy)
        assert torch.equal(one.scores, other.scores)
        assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize("name", MODELS)
def test_a_cosine_head_is_exported_with_the_model(tmp_path: Path, name: str) -> None:
    before = trained(name)
    with torch.inference_mode():
        plain = before.predict(IMAGES)
        use_cosine_head(before, 5.0)
        expected = before.predict(IMAGES)
    save_exported(tmp_path, before, MODELS[name], BACKBONE, INFO, None, [])
    after, described = load_exported(tmp_path)
    assert described.cosine_scale == 5.0
    with torch.inference_mode():
        found = after.predict(IMAGES)
    for one, other, without in zip(expected, found, plain, strict=True):
        assert torch.equal(one.boxes_xyxy, other.boxes_xyxy)
        assert torch.equal(one.scores, other.scores)
        assert torch.equal(one.labels, other.labels)
        assert not torch.equal(one.scores, without.scores)


def test_a_file_from_before_there_was_a_cosine_head_has_a_plain_one(exported: Path) -> None:
    assert json.loads((exported / "model.json").read_text())["cosine_scale"] is None
    edit(exported, cosine_scale=...)
    detector, described = load_exported(exported)
    assert described.cosine_scale is None
    assert not any(isinstance(module, CosineConv2d) for module in detector.modules())


def test_how_detections_become_one_goes_with_the_model_and_can_be_said_anew(original: Path, tmp_path: Path) -> None:
    """The thresholds of the network itself, too; a file from before there was a choice has the model's own."""
    own = s.PostprocessConfig(s.Method.soft_nms, max_detections=7, flips=[s.Flip.horizontal])
    detector = trained("retinanet")
    save_exported(tmp_path, detector, MODELS["retinanet"], BACKBONE, INFO, None, ["toys"], own)
    loaded, _ = load_exported(tmp_path)
    assert (loaded.rule.method, loaded.rule.flips) == (s.Method.soft_nms, (s.Flip.horizontal,))
    assert [len(one.scores) for one in loaded.predict(IMAGES)] == [7, 7]
    changed, _ = load_exported(tmp_path, s.PostprocessConfig(s.Method.nms, max_detections=3, flips=[]))
    plain, _ = load_exported(original)
    for found, all_of_them in zip(changed.predict(IMAGES), plain.predict(IMAGES), strict=True):
        assert torch.equal(found.boxes_xyxy, all_of_them.boxes_xyxy[:3])
    edit(tmp_path, postprocess=...)
    assert load_exported(tmp_path)[0].rule == plain.rule


def test_the_files_say_what_the_model_is(exported: Path) -> None:
    found = read_exported(exported)
    assert found.class_names == NAMES
    assert found.architecture == "retinanet"
    assert found.model["anchor_scale"] == 0.5
    assert found.backbone["neck_channels"] == 64
    assert found.size == Size(64, 96)
    assert found.lineage == ("imagenet", "toys")
    assert found.norm_eps is None
    assert set(found.tensors) == set(trained("retinanet").state_dict())


def test_a_model_of_stretched_pictures_says_so_and_an_older_file_that_says_nothing_kept_their_shape(
    exported: Path,
) -> None:
    info = replace(INFO, max_size=64, resize=s.Resize.stretch)
    save_exported(exported, trained("retinanet"), MODELS["retinanet"], BACKBONE, info, None, [])
    stretched = read_exported(exported)
    assert stretched.size == Size(64, 64, s.Resize.stretch)
    picture = resize(torch.zeros(3, 100, 200, dtype=torch.uint8), *stretched.size)
    assert picture.shape == (3, 64, 64)
    said = json.loads((exported / "model.json").read_text())["preprocessing"]
    edit(exported, preprocessing={name: value for name, value in said.items() if name != "resize"})
    assert read_exported(exported).size == Size(64, 64)


def test_thresholds_and_canvases_are_kept_and_older_files_have_none(exported: Path, tmp_path: Path) -> None:
    chosen, canvases, tile = {"cat": 0.25}, ((64, 96), (96, 96)), s.TileConfig(size=64, whole=False)
    model = trained("retinanet"), MODELS["retinanet"], BACKBONE, INFO, None, []
    (tmp_path / "new").mkdir()
    save_exported(tmp_path / "new", *model, thresholds=chosen, canvases_hw=canvases, tile=tile)
    found = read_exported(tmp_path / "new")
    assert (found.thresholds, found.canvases_hw, found.tile) == (chosen, canvases, tile)
    edit(exported, thresholds=..., canvases_hw=..., tile=...)
    older = read_exported(exported)
    assert (older.thresholds, older.canvases_hw, older.tile) == ({}, (), s.TileConfig())


def test_the_folder_or_either_file_names_the_model(exported: Path) -> None:
    for path in (exported, exported / "model.json", str(exported / "model.safetensors")):
        assert read_exported(path).class_names == NAMES


def test_nothing_but_the_two_files_is_left_behind(exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == ["model.json", "model.safetensors"]


def test_an_export_that_fails_leaves_the_old_one_whole(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = {path.name: path.read_bytes() for path in exported.iterdir()}

    def full_disk(tensors: dict[str, torch.Tensor], path: Path) -> None:
        path.write_bytes(b"half a file")
        raise OSError("no space left on device")

    monkeypatch.setattr(export, "save_file", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_exported(exported, trained("retinanet"), MODELS["retinanet"], BACKBONE, INFO, None, ["new"])
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == old


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_missing_file_is_named(exported: Path, name: str) -> None:
    (exported / name).unlink()
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        load_exported(exported)


@pytest.mark.parametrize(("name", "keep"), [("model.safetensors", 1000), ("model.safetensors", 4), ("model.json", 40)])
def test_a_file_cut_short_is_refused_by_name(exported: Path, name: str, keep: int) -> None:
    (exported / name).write_bytes((exported / name).read_bytes()[:keep])
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        load_exported(exported)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"schema_version": 2}, "schema_version=2, this Headstart reads 1"),
        ({"schema_version": ...}, "schema_version"),
        ({"class_names": ...}, "class_names"),
        ({"preprocessing": {"mean": [0, 0, 0]}}, "std"),
        ({"preprocessing": SEEN | {"resize": "crop"}}, r"model\.json .*resize=crop is not one of keep, stretch"),
        ({"preprocessing": SEEN | {"resize": ["keep"]}}, "is not one of keep, stretch"),
        ({"preprocessing": SEEN | {"resize": "stretch"}}, "makes squares, but min_size=64, max_size=96"),
        ({"architecture": "os.system"}, "architecture=os.system is not one of retinanet"),
        ({"backbone": {"_target_": "os.system", "name": "x"}}, "_target_"),
        ({"model": None}, "model.json"),
        ({"backbone": {"name": "x", "library": "os", "architecture": "y", "neck_channels": 16}}, "library"),
        ({"class_names": ["one"]}, "does not fit"),
        ({"cosine_scale": "20"}, r"model\.json .*cosine_scale=20 is no number above 0"),
        ({"postprocess": {"method": "os.system"}}, r"model\.json cannot be used"),
        ({"postprocess": {"scales": [1e9]}}, r"model\.json cannot be used: postprocess.scales=\[1e\+09\] must each be"),
        ({"postprocess": {"later": 1}}, r"model\.json cannot be used"),
        ({"postprocess": []}, r"postprocess is a list, where a dict is due"),
        ({"tile": {"size": 3}}, r"model\.json .*tile.size=3 must be 32 pixels or more"),
        ({"thresholds": {"cat": 1.5}}, r"model\.json .*thresholds: cat=1.5 is no number from 0 to 1"),
        ({"canvases_hw": [[64]]}, r"model\.json .*canvases_hw is no list"),
        ({"cosine_scale": -1}, r"model\.json .*cosine_scale=-1 is no number above 0"),
    ],
)
def test_a_description_that_is_wrong_is_refused_by_what_is_wrong(
    exported: Path, changes: dict[str, Any], text: str
) -> None:
    edit(exported, **changes)
    with pytest.raises(UserError, match=text):
        load_exported(exported)
