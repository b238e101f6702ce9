"""The retained detector has each row from where it belongs; what cannot be measured is refused before training."""

import json
from pathlib import Path

import PIL.Image
import pytest
import torch

from headstart.config import schema as s
from headstart.config.checks_transfer import check_retention
from headstart.config.plain import plain
from headstart.data import catalog
from headstart.data.info import describe
from headstart.detectors.factory import build_detector
from headstart.errors import UserError
from headstart.parts.retention import read_retention, retained_detector, retention_line
from headstart.records.record import RunRecord

BACKBONE = s.BackboneConfig("lite0", s.BackboneLibrary.timm, "tf_efficientnet_lite0", neck_channels=32)
MODELS = {
    "retinanet": s.RetinaNetConfig(architecture=s.Architecture.retinanet),
    "faster_rcnn": s.FasterRCNNConfig(architecture=s.Architecture.faster_rcnn),
}
SOURCE, TUNED, KEPT = ("a", "b", "c"), ("c", "new", "A"), {"c": "c", "A": "a"}


def drawn(model, class_names, seed):
    """A detector with every tensor drawn at random."""
    detector = build_detector(MODELS[model], BACKBONE, class_names)
    generator = torch.Generator().manual_seed(seed)
    for tensor in detector.state_dict().values():
        tensor.copy_((10 * torch.rand(tensor.shape, generator=generator)).to(tensor))
    return detector


@pytest.mark.parametrize(
    ("model", "heads", "anchors", "background"),
    [
        ("retinanet", {"head.classification_head.cls_logits": 1}, 9, 0),
        ("faster_rcnn", {"roi_heads.box_predictor.cls_score": 1, "roi_heads.box_predictor.bbox_pred": 4}, 1, 1),
    ],
)
def test_shared_rows_and_background_are_tuned_other_rows_the_sources_and_the_network_is_tuned(
    model, heads, anchors, background
):
    source, tuned = drawn(model, SOURCE, seed=1), drawn(model, TUNED, seed=2)
    before = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    after, values = retained_detector(source, tuned, KEPT).state_dict(), tuned.state_dict()
    assert source.class_names == SOURCE
    for name, tensor in after.items():
        rows = heads.get(name.rpartition(".")[0])
        if rows is None:
            assert torch.equal(tensor, values[name]), name
            continue
        ours, own, theirs = (x.unflatten(0, (anchors, -1, rows)) for x in (tensor, before[name], values[name]))
        assert ours.shape[1] == background + 3
        if background:
            assert torch.equal(ours[:, 0], theirs[:, 0]), name
        ours, own, theirs = (x[:, background:] for x in (ours, own, theirs))
        assert torch.equal(ours[:, 0], theirs[:, 2]), name  # a: the tuned A
        assert torch.equal(ours[:, 1], own[:, 1]), name  # b: nobody else knows it
        assert torch.equal(ours[:, 2], theirs[:, 0]), name  # c
        assert not torch.equal(own[:, 0], theirs[:, 2])


def test_of_two_classes_from_the_same_the_first_speaks_for_it():
    source, tuned = drawn("faster_rcnn", ("a",), seed=1), drawn("faster_rcnn", ("x", "y"), seed=2)
    retained_detector(source, tuned, {"y": "a", "x": "a"})
    head = "roi_heads.box_predictor.cls_score.weight"
    assert torch.equal(source.state_dict()[head][1], tuned.state_dict()[head][2])


def test_rows_of_another_number_of_anchors_are_the_sources_own(tiny):
    source, tuned = tiny(("a", "b"), seed=1), tiny(("a", "b"), seed=2)
    tuned.head.cls = torch.nn.Conv2d(8, 3 * 2, 1)
    before = source.head.cls.weight.detach().clone()
    retained_detector(source, tuned, {"a": "a"})
    assert torch.equal(source.head.cls.weight, before)
    assert torch.equal(source.head.box.weight, tuned.head.box.weight)


# ----------------------------------------------------------------------------------------- the source's run


def configured(source, data_dir="data", retention=True):
    return s.RunConfig(
        dataset=s.YoloConfig(name="target", root="target"),
        model=MODELS["retinanet"],
        backbone=BACKBONE,
        source=source,
        strategy=s.StrategyConfig(name="full"),
        evaluation=s.EvaluationConfig(retention=retention),
        data_dir=str(data_dir),
    )


def checkpoint(path):
    return s.CheckpointConfig(name="checkpoint", kind=s.SourceKind.checkpoint, path=str(path))


def yolo_folder(root: Path, names="cat, dog") -> None:
    for number, split in enumerate(("train", "val")):
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True)
        PIL.Image.new("RGB", (64, 48), (number, 0, 0)).save(root / "images" / split / "x.png")
        (root / "labels" / split / "x.txt").write_text("1 0.5 0.5 0.5 0.5")
    (root / "data.yaml").write_text(f"names: [{names}]")


@pytest.fixture
def source_run(tmp_path):
    """What `read_retention` reads of a run that was trained on the YOLO folder data/pets."""
    root, folder = tmp_path / "data" / "pets", tmp_path / "source"
    yolo_folder(root)
    dataset = s.YoloConfig(name="pets", root=str(root), min_size=96, max_size=128)
    info = describe(catalog.read(dataset, 0), dataset)
    config = {"dataset": plain(dataset), "seed": 0, "data_dir": str(tmp_path / "data")}
    folder.mkdir()
    for name in ("model.safetensors", "model.json"):
        (folder / name).touch()
    record = RunRecord(status="finished", config=config, dataset=plain(info))
    record.write(folder / "record.json")
    return folder


@pytest.mark.parametrize("name", ["", "model.safetensors", "model.json"])
def test_the_task_is_the_source_runs_data_at_its_image_size(source_run, name):
    task = read_retention(configured(checkpoint(source_run / name)))
    assert task is not None
    assert (task.folder, task.info.name, task.info.class_names) == (source_run, "pets", ("cat", "dog"))
    assert (task.info.min_size, task.info.max_size, len(task.data.splits["val"])) == (96, 128, 1)


def test_data_that_moved_is_found_in_the_data_dir_of_today(source_run, tmp_path):
    (tmp_path / "data").rename(tmp_path / "moved")
    task = read_retention(configured(checkpoint(source_run), data_dir=tmp_path / "moved"))
    assert task is not None
    assert task.info.name == "pets"


@pytest.mark.parametrize(
    ("file", "text"), [("labels/val/x.txt", "0 0.5 0.5 0.5 0.5"), ("data.yaml", "names: [dog, cat]")]
)
def test_data_that_changed_since_is_refused(source_run, tmp_path, file, text):
    (tmp_path / "data" / "pets" / file).write_text(text)
    with pytest.raises(UserError, match=r"evaluation\.retention=true: pets has changed since source\.path="):
        read_retention(configured(checkpoint(source_run)))


def test_classes_in_another_order_are_refused_though_every_box_is_the_same(source_run, tmp_path):
    pets = tmp_path / "data" / "pets"
    (pets / "data.yaml").write_text("names: [dog, cat]")
    for split in ("train", "val"):
        (pets / "labels" / split / "x.txt").write_text("0 0.5 0.5 0.5 0.5")
    with pytest.raises(UserError, match="changed"):
        read_retention(configured(checkpoint(source_run)))


@pytest.mark.parametrize("kind", ["scratch", "imagenet", "coco"])
def test_a_source_without_images_of_its_own_is_refused(kind):
    source = s.SourceConfig(name=kind, kind=s.SourceKind[kind])
    text = rf"evaluation\.retention=true does not go with source={kind}.*source=checkpoint source\.path="
    with pytest.raises(UserError, match=text):
        check_retention(configured(source))


@pytest.mark.parametrize("missing", ["record.json", "model.safetensors", "model.json"])
def test_a_source_that_is_no_runs_folder_is_refused_and_the_missing_file_named(source_run, missing):
    (source_run / missing).unlink()
    with pytest.raises(UserError, match=rf"evaluation\.retention=true: source\.path=.*source has no {missing}: use"):
        check_retention(configured(checkpoint(source_run)))


def test_an_unfinished_run_is_refused(source_run):
    values = json.loads((source_run / "record.json").read_text())
    (source_run / "record.json").write_text(json.dumps(values | {"status": "interrupted"}))
    with pytest.raises(UserError, match=r"the run in source\.path=.* is interrupted: use"):
        check_retention(configured(checkpoint(source_run)))
    (source_run / "record.json").write_text("{")
    with pytest.raises(UserError, match=r"is unreadable \(record\.json\)"):
        check_retention(configured(checkpoint(source_run)))


def test_without_the_setting_nothing_is_read_or_refused(tmp_path):
    assert read_retention(configured(checkpoint(tmp_path / "absent"), retention=False)) is None


@pytest.mark.parametrize(("before", "after", "share"), [(0.5, 0.4, "80% retained"), (0.0, 0.0, "nothing to compare")])
def test_the_line_for_the_user_says_what_is_left(before, after, share):
    retained = after / before if before else float("nan")
    result = {"dataset": "pets", "before": {"map": before}, "after": {"map": after}, "retained": retained}
    line = f"On the source's own images (pets): mAP {before:.3f} before, {after:.3f} after; {share}"
    assert retention_line(result) == line
