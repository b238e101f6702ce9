"""`source=hub`: a detector that transformers itself saved, found by its names and classes, or refused."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from headstart.config import schema as s
from headstart.config.checks import check_files
from headstart.config.compose import compose
from headstart.config.hub import is_hub_id
from headstart.data.types import Size
from headstart.detectors.factory import build_detector
from headstart.detectors.interface import Preprocessing
from headstart.errors import UserError
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.hub import load_hub

pytest.importorskip("transformers")
_FILE = Path(__file__).parents[1] / "detectors" / "detr_reference.py"
_spec = importlib.util.spec_from_file_location("detr_reference", _FILE)
assert _spec
assert _spec.loader
reference: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "dfine-tiny"
    reference.saved("d_fine", folder)
    return folder


@pytest.fixture
def folder(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "dfine-tiny"))


def hub(folder: Path) -> s.HubConfig:
    return s.HubConfig("hub", s.SourceKind.hub, path=str(folder))


def load(folder: Path, config: Any = None) -> Any:
    return load_hub(hub(folder), config or reference.our_config("d_fine"), None)  # type: ignore[arg-type]


def test_rows_follow_the_names_of_the_classes_in_every_tensor_that_has_them(folder):
    """Rows of étoile and cat, in another order and beside a new class; of the embedding of noise, too."""
    config = reference.our_config("d_fine")
    detector = build_detector(config, reference.B0, ("étoile", "new", "cat"))
    fresh = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    weights = load_hub(hub(folder), config, detector)
    report = apply_source(detector, weights)
    assert report.kept_classes == {"étoile": "étoile", "cat": "cat"}
    assert report.new_classes == ("new",)
    assert report.new == ()
    axes = [axis.tensor for axis in detector.class_axes()]
    assert set(report.partial) == set(axes)
    assert len(axes) == 2 * (1 + reference.LAYERS) + 1
    for name in axes:
        ours, theirs = detector.state_dict()[name], weights.tensors[name]
        assert torch.equal(ours[[0, 2]], theirs[[2, 0]])
        assert torch.equal(ours[1], fresh[name][1])
    nothing = weights.tensors["head.of_nothing"]
    assert torch.equal(detector.state_dict()["head.of_nothing"], nothing)


def test_what_it_knows_of_itself_is_told(folder):
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 640, "width": 640}}))
    weights = load(folder)
    assert weights.row_names == reference.CLASSES
    assert weights.preprocessing == Preprocessing((0, 0, 0), (1, 1, 1))
    assert weights.size == Size(640, 640, s.Resize.stretch)
    assert weights.lineage == ("dfine-tiny",)
    assert "licence apache-2.0, revision not known, model.safetensors sha256 " in weights.where


def test_pictures_are_normalised_as_the_processor_says(folder):
    values = {"do_normalize": True, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "size": {}}
    (folder / "preprocessor_config.json").write_text(json.dumps(values))
    weights = load(folder)
    assert weights.preprocessing == Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert weights.size is None


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (reference.our_config("rt_detr"), "is of model_type=d_fine, this run of model=rt_detr .*use model=d_fine"),
        (reference.our_config("d_fine", layers=2), "decoder_layers=3, this run 2: set model.size or model.layers"),
        (reference.our_config("d_fine", hidden=64), "encoder_hidden_dim=32, this run 64: set model.size or"),
        (s.FCOSConfig(s.Architecture.fcos), "source=hub has D-FINE and RT-DETR, not model=fcos"),
    ],
)
def test_another_network_is_refused_by_name(folder, config, told):
    with pytest.raises(UserError, match=told):
        load(folder, config)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model_type": "detr"}, "model_type=detr; source=hub reads d_fine, rt_detr, rt_detr_v2"),
        ({"eval_idx": 1}, r"config\.json has eval_idx=1, and only -1 is known here"),
    ],
)
def test_what_is_not_known_here_is_refused(folder, change, told):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=told):
        load(folder)


@pytest.mark.parametrize("content", ["{", "[]", None])
def test_a_damaged_or_absent_description_is_named(folder, content):
    path = folder / "config.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"config\.json"):
        load(folder)


def test_another_body_is_refused_by_surgery(folder):
    config = reference.our_config("d_fine")
    other = s.BackboneConfig("lite0", s.BackboneLibrary.timm, "tf_efficientnet_lite0")
    detector = build_detector(config, other, reference.CLASSES)
    with pytest.raises(UserError, match="the source has another backbone"):
        apply_source(detector, load_hub(hub(folder), config, detector))


def test_a_name_of_the_hub_is_no_missing_folder_and_anything_else_is():
    assert is_hub_id("ustc-community/dfine-small-coco")
    assert not is_hub_id("outputs/some/run")
    words = ["model=d_fine", "backbone=hgnetv2_b0", "source=hub"]
    check_files(compose([*words, "source.path=owner/name"]))
    with pytest.raises(UserError, match=r"source\.path=no/such/folder does not exist"):
        check_files(compose([*words, "source.path=no/such/folder"]))


def test_without_a_network_the_hub_is_refused_with_what_to_do(monkeypatch):
    import huggingface_hub

    def none(*_: Any, **__: Any) -> str:
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", none)
    with pytest.raises(UserError, match=r"owner/name cannot be had from the hub \(ConnectionError\): fetch its config"):
        load(Path("owner/name"))
