"""A detector of one's own becomes a source, whatever its classes; another network is refused by name."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from headstart.config.schema import Architecture, BackboneConfig, BackboneLibrary, CheckpointConfig, RetinaNetConfig
from headstart.config.schema import SourceKind as Kind
from headstart.data.types import Size
from headstart.detectors.cosine import use_cosine_head
from headstart.detectors.interface import Preprocessing
from headstart.errors import UserError
from headstart.transfer import checkpoint
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.sources import load_source

MODEL = RetinaNetConfig(architecture=Architecture.retinanet)
BACKBONE = BackboneConfig(name="tiny", library=BackboneLibrary.timm, architecture="tiny", neck_channels=8)


def load(path, detector, class_names=()):
    config = CheckpointConfig("checkpoint", Kind.checkpoint, path=str(path), class_names=list(class_names))
    return load_source(config, MODEL, BACKBONE, detector)


@pytest.fixture
def run_folder(tmp_path, monkeypatch, tiny):
    """A finished run of `tiny` on the classes a, b, c; its description can be changed."""
    (tmp_path / "model.json").write_text("{}")
    save_file({}, tmp_path / "model.safetensors")
    exported = SimpleNamespace(
        tensors=tiny(seed=1).state_dict(),
        class_names=("a", "b", "c"),
        architecture="retinanet",
        model={"architecture": "retinanet", "variant": "v1"},
        backbone={"name": "tiny", "architecture": "tiny", "library": "timm", "neck_channels": 8},
        preprocessing=Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
        size=Size(64, 96),
        norm_eps=0.001,
        lineage=("imagenet", "shapes_source"),
        cosine_scale=None,
    )
    monkeypatch.setattr(checkpoint, "read_exported", lambda path: exported)
    return tmp_path, exported


@pytest.mark.parametrize("name", ["", "model.safetensors", "model.json"])
def test_a_run_knows_its_classes_preprocessing_and_lineage(run_folder, tiny, name):
    folder, exported = run_folder
    detector = tiny(("c", "new"))
    report = apply_source(detector, load(folder / name, detector))
    assert report.kept_classes == {"c": "c"}
    assert report.lineage == ("imagenet", "shapes_source")
    assert load(folder / name, detector).size == Size(64, 96)
    assert detector.preprocessing == exported.preprocessing
    assert detector.backbone.stem.bn.eps == 0.001
    assert torch.equal(detector.head.cls.bias[0], exported.tensors["head.cls.bias"][2])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"architecture": "faster_rcnn"}, "model=faster_rcnn.* this run has model=retinanet"),
        ({"model": {"variant": "v2"}}, "model.variant=v2.* this run has model.variant=v1"),
        ({"model": {"variant": "v1", "neck": "pan"}}, "model.neck=pan.* this run has model.neck=fpn"),
        ({"model": {"variant": "v1", "attention": "se"}}, "model.attention=se.* this run has model.attention=none"),
        ({"backbone": {"architecture": "resnet50", "neck_channels": 8}}, "architecture=resnet50.*architecture=tiny"),
        (
            {"backbone": {"architecture": "tiny", "tensorflow": True}},
            "backbone.tensorflow=True.*backbone.tensorflow=False",
        ),
        ({"backbone": {"architecture": "tiny", "neck_channels": 256}}, "neck_channels=256.*neck_channels=8"),
    ],
)
def test_another_network_is_refused_naming_both_and_the_remedy(run_folder, tiny, change, text):
    folder, exported = run_folder
    vars(exported).update(change)
    with pytest.raises(UserError, match=rf"{text}: use .*=.*, or another source"):
        load(folder, tiny())


def with_head(detector, cosine_scale):
    if cosine_scale is not None:
        use_cosine_head(detector, cosine_scale)
    return detector


@pytest.mark.parametrize(("now", "said"), [(None, "null"), (10.0, "10.0")])
def test_a_cosine_head_is_no_source_for_another_head(run_folder, tiny, now, said):
    folder, exported = run_folder
    exported.cosine_scale = 20.0
    with pytest.raises(
        UserError, match=rf"cosine_scale=20\.0, but .*cosine_scale={said}: use .*scale=20\.0, or another"
    ):
        load(folder, with_head(tiny(), now))


@pytest.mark.parametrize("then", [20.0, None])
def test_the_same_cosine_head_and_a_plain_one_are_sources_for_a_cosine_head(run_folder, tiny, then):
    folder, exported = run_folder
    exported.cosine_scale = then
    detector = with_head(tiny(), 20.0)
    apply_source(detector, load(folder, detector))
    assert torch.equal(detector.head.cls.weight, exported.tensors["head.cls.weight"])


def test_class_names_for_a_run_that_knows_them_are_refused(run_folder, tiny):
    with pytest.raises(UserError, match=r"source\.class_names has no effect"):
        load(run_folder[0], tiny(), ["a", "b", "c"])


def test_a_missing_path_and_an_unfinished_run_are_refused(tmp_path, tiny):
    with pytest.raises(UserError, match=r"source\.path=.*nowhere does not exist: name a run folder"):
        load(tmp_path / "nowhere", tiny())
    with pytest.raises(UserError, match=r"has no model\.safetensors.*finished"):
        load(tmp_path, tiny())


@pytest.mark.parametrize("background", [0, 1])
def test_a_plain_state_dict_needs_its_class_names(tmp_path, tiny, background):
    source, detector = tiny(seed=1, background=background), tiny(("c", "new"), background=background)
    save_file(source.state_dict(), tmp_path / "mine.safetensors")
    for wrong in ([], ["a", "b"]):
        with pytest.raises(UserError, match=rf"class_names lists {len(wrong)} classes, but the head .* has 3 "):
            load(tmp_path / "mine.safetensors", detector, wrong)
    report = apply_source(detector, load(tmp_path / "mine.safetensors", detector, ["a", "b", "C"]))
    assert report.kept_classes == {"c": "C"}
    assert report.lineage == ("mine",)
    rows = source.head.cls.weight.reshape(2, background + 3, 8)
    assert torch.equal(detector.head.cls.weight.reshape(2, background + 2, 8)[:, background], rows[:, background + 2])


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "net.module."])
def test_prefixes_of_other_programs_are_taken_off_and_the_load_report_says_so(tmp_path, tiny, prefix):
    source, detector = tiny(seed=1), tiny()
    torch.save({f"{prefix}{name}": tensor for name, tensor in source.state_dict().items()}, tmp_path / "ddp.pth")
    report = apply_source(detector, load(tmp_path / "ddp.pth", detector, ["a", "b", "c"]))
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in detector.state_dict().items())
    assert dict(report.as_rows())["from"] == f"{tmp_path / 'ddp.pth'}: without the prefix {prefix}"


def test_names_of_another_program_are_shown_beside_ours(tmp_path, tiny):
    save_file({"yolo.22.conv.weight": torch.ones(2), "ema.x": torch.ones(1)}, tmp_path / "other.safetensors")
    detector = tiny()
    with pytest.raises(UserError) as refused:
        apply_source(detector, load(tmp_path / "other.safetensors", detector, ["a", "b", "c"]))
    ours = next(iter(detector.state_dict()))
    assert "another backbone" not in str(refused.value)
    for said in ("yolo.22.conv.weight", f"this detector has {ours}", "begin with", "yolo.", "ema."):
        assert said in str(refused.value)
