"""A run leaves what the README says, says the truth about it, and is itself again with the same seed."""

import csv
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from safetensors.torch import load_file

import headstart
from headstart.analysis.scored import score
from headstart.analysis.thresholds import least_scores
from headstart.config.compose import compose
from headstart.config.restore import restore
from headstart.config.schema import (
    BackboneConfig,
    BackboneLibrary,
    EvaluateConfig,
    PostprocessConfig,
    RescoreConfig,
    Resize,
)
from headstart.data import catalog
from headstart.data.types import Size
from headstart.detectors.pretrained import imagenet_state
from headstart.errors import UserError
from headstart.evaluate import evaluate
from headstart.inference.export import load_exported
from headstart.records.detections import read_detections
from headstart.records.record import RunRecord, record_files
from headstart.records.truth import read_truth
from headstart.rescore import AFTER, rescore
from headstart.run import run

LITE0 = BackboneConfig("efficientnet_lite0", BackboneLibrary.timm, "tf_efficientnet_lite0")


def record_of(folder: Path) -> RunRecord:
    return RunRecord.read(folder / "record.json")


def test_evaluate_gives_to_the_bit_what_training_reported_of_its_best_epoch(full_run):
    reported = record_of(full_run).metrics["val"]
    assert reported["map"] > 0
    found = evaluate(EvaluateConfig(run=str(full_run)))
    assert repr(found.numbers()).replace("nan", "None") == repr(reported)


def test_a_finished_run_is_measured_by_another_rule_and_keeps_its_own_detections(full_run, capsys):
    kept = (full_run / "detections.npz").read_bytes()
    found = evaluate(EvaluateConfig(run=str(full_run), postprocess=PostprocessConfig(max_detections=1)))
    assert found.map < record_of(full_run).metrics["val"]["map"]
    assert len(found.detections.scores) == found.images == 5
    assert f"The run's own: mAP {record_of(full_run).metrics['val']['map']:.4f}" in capsys.readouterr().out
    assert (full_run / "detections.npz").read_bytes() == kept


@pytest.mark.slow
def test_models_together_find_what_their_detections_do(full_run, train):
    """`evaluate` asks the models, `rescore` reads what they have kept."""
    words = ("seed=1", "postprocess.flips=[horizontal]", "training.evaluate_untrained=false")
    other = train(*words, into=full_run.parent)
    assert evaluate(EvaluateConfig(run=str(other))).map == record_of(other).metrics["val"]["map"], "flips included"
    runs = f"{full_run},{other}"
    by_models = evaluate(EvaluateConfig(run=runs))
    by_record = rescore(RescoreConfig(run=runs))
    assert by_models.map == pytest.approx(by_record[AFTER].map, abs=1e-9)
    assert by_record["run 2"].map == record_of(other).metrics["val"]["map"]


def test_a_finished_run_can_be_used_with_thresholds_of_its_own_and_has_a_card(full_run):
    record, model = record_of(full_run), headstart.load(full_run, device="cpu")
    found, truth = read_detections(full_run, "val"), read_truth(full_run, record.dataset["fingerprints"]["val"])
    scored = score(truth, found, 100)
    assert scored is not None
    assert least_scores(scored) == {name: model.thresholds[name] for name in model.chosen}
    assert model.chosen
    dataset = restore("dataset", record.config["dataset"])
    pictures = {image.name: image.read() for image in catalog.read(dataset, record.config["seed"]).splits["val"]}
    for row, name in enumerate(truth.image_names):
        again, kept = model.predict(pictures[name], threshold=0.001), found.images == row
        assert len(again) == kept.sum()
        np.testing.assert_allclose(again.scores[:5], found.scores[kept][:5], atol=1e-3)
        np.testing.assert_allclose(again.boxes_xyxy[:5], found.boxes_xyxy[kept][:5], atol=0.1)
    text = (full_run / "README.md").read_text()
    assert f"| val | 5 | {record.metrics['val']['map']:.3f} |" in text
    assert PIL.Image.open(full_run / "card.jpg").format == "JPEG"


def test_a_run_on_stretched_pictures_says_so_and_is_evaluated_on_such(train):
    square = ("dataset.resize=stretch", "dataset.min_size=96", "dataset.max_size=96", "trainer.max_epochs=1")
    folder = train(*square, "training.evaluate_untrained=false", "dataset.cache=none")
    record = record_of(folder)
    assert (record.config["dataset"]["resize"], record.dataset["resize"]) == ("stretch", "stretch")
    assert load_exported(folder)[1].size == Size(96, 96, Resize.stretch)
    found = evaluate(EvaluateConfig(run=str(folder)))
    assert found.map == pytest.approx(record.metrics["val"]["map"])
    kept = json.loads((folder / "record.json").read_text())
    del kept["config"]["dataset"]["resize"]
    (folder / "record.json").write_text(json.dumps(kept))
    assert evaluate(EvaluateConfig(run=str(folder))).map != pytest.approx(found.map), "other pictures"


def test_data_from_which_nothing_can_be_learnt_is_shown_and_refused_before_training(draw_squares, tmp_path, capsys):
    draw_squares(tmp_path / "squares")
    for path in (tmp_path / "squares").glob("*.xml"):
        path.write_text(path.read_text().replace("</name>", "</name><difficult>1</difficult>"))
    words = ["dataset=voc_folder", f"dataset.root={tmp_path / 'squares'}", f"output_dir={tmp_path / 'outputs'}"]
    with pytest.raises(UserError, match=r"no box to be learnt in its 5 pictures; .* \(5 difficult\)"):
        run(compose([*words, "trainer.accelerator=cpu", "logger=csv"]))
    assert "5 difficult" in capsys.readouterr().out
    (path,) = (tmp_path / "outputs").glob("*/record.json")
    record = RunRecord.read(path)
    assert (record.status, record.metrics) == ("failed", {})
    assert record.error is not None
    assert "nothing can be learnt" in record.error["message"]


def test_evaluate_refuses_a_split_that_is_not_there_and_says_which_are(full_run):
    with pytest.raises(UserError, match=r"split=test: shapes has train, val"):
        evaluate(EvaluateConfig(run=str(full_run), split="test"))


def test_the_record_holds_what_other_programs_rely_on(full_run):
    record = record_of(full_run)
    assert record.choices == {
        "dataset": "shapes",
        "model": "retinanet",
        "backbone": "efficientnet_lite0",
        "source": "imagenet",
        "strategy": "full",
        "seed": 0,
        "fraction": 1.0,
        "shots": None,
    }
    assert record.config["dataset"]["num_train"] == 10
    assert record.dataset["num_images"] == {"train": 10, "val": 5}
    assert record.lineage == ["imagenet", "shapes"]
    assert len(record.load["loaded"]) == 288
    assert [row["stage"] for row in record.plan] == ["stem", *(f"stage{i}" for i in range(1, 6)), "neck", "head"]
    assert record.cost.keys() == {
        "trained_parameters",
        "total_parameters",
        "wall_seconds",
        "cpu_seconds",
        "train_images_per_second",
        "peak_memory_mib",
        "parts",
        "source",
    }
    assert (record.cost["parts"], record.cost["source"]) == ({}, None)
    assert all(value > 0 for name, value in record.cost.items() if name not in ("parts", "source"))
    assert record.environment["precision"] == "32-true"
    assert record.error is None


def test_the_history_begins_before_training_and_the_record_reports_its_best_epoch(full_run):
    history = record_of(full_run).metrics["history"]
    assert [row["epoch"] for row in history] == [0, 1, 2]
    assert record_of(full_run).metrics["val"]["map"] == pytest.approx(max(row["val/map"] for row in history[1:]))
    assert all(row["train/loss"] > 0 for row in history[1:])
    with (full_run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val/map"]) for row in rows] == pytest.approx([row["val/map"] for row in history])


def test_the_export_is_the_best_checkpoint(full_run):
    best = torch.load(full_run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    exported = load_file(full_run / "model.safetensors")
    assert {f"detector.{name}" for name in exported} == set(best)
    assert all(torch.equal(best[f"detector.{name}"], tensor) for name, tensor in exported.items())


def test_frozen_stages_are_the_sources_bit_for_bit_and_all_others_moved(train):
    folder = train("strategy=partial_freeze", "strategy.freeze_through=stage2", "strategy.norm=train")
    library, _, _ = imagenet_state(LITE0, None)
    detector, _ = load_exported(folder)
    names = detector.library_names()
    frozen = {stage.name for stage in detector.stages()[:3]}
    prefixes = [p for stage in detector.stages() if stage.name in frozen for p in stage.prefixes]
    for name, tensor in detector.state_dict().items():
        if name in names:
            still = any(name.startswith(f"{prefix}.") for prefix in prefixes)
            assert torch.equal(tensor, library[names[name]]) == still, name
    for row in record_of(folder).plan:
        assert (row["frozen_tensors"] > 0) == (row["stage"] in frozen)
        assert row["frozen_digest_before"] == row["frozen_digest_after"]


def test_head_only_moves_the_head_alone_and_keeps_classes_of_the_same_name(train, full_run):
    folder = train("source=checkpoint", f"source.path={full_run}", "strategy=head_only", "dataset=shapes_source")
    before, after = load_file(full_run / "model.safetensors"), load_file(folder / "model.safetensors")
    detector, _ = load_exported(folder)
    heads = detector.stages()[-1].prefixes
    moved = {
        name for name in after if before[name].shape != after[name].shape or not torch.equal(before[name], after[name])
    }
    assert moved == {name for name in after if name.split(".")[0] in heads}
    record = record_of(folder)
    assert set(record.load["kept_classes"]) == {"circle", "triangle", "star"}
    assert record.lineage == ["imagenet", "shapes", "shapes_source"]


def test_scratch_trains_every_parameter_and_starts_from_no_source(train):
    record = record_of(train("source=scratch", "strategy.norm=affine_only", "trainer.max_epochs=1"))
    assert record.cost["trained_parameters"] == record.cost["total_parameters"]
    assert record.load["loaded"] == []
    assert all(row["frozen_tensors"] == 0 for row in record.plan)
    assert {row["norm"] for row in record.plan} == {"train", "-"}


def test_the_same_seed_gives_the_same_run_and_another_seed_another(train, full_run, tmp_path):
    again, other = train(into=tmp_path / "again"), train("seed=1", into=tmp_path / "other")
    assert again.name == full_run.name != other.name
    runs = [record_of(folder) for folder in (full_run, again, other)]
    histories = [[row | {"epoch": 0} for row in record.metrics["history"]] for record in runs]
    assert histories[0] == histories[1] != histories[2]
    assert runs[0].metrics["val"] == runs[1].metrics["val"]
    files = [load_file(folder / "model.safetensors") for folder in (full_run, again)]
    assert all(torch.equal(files[0][name], files[1][name]) for name in files[0])


def test_workers_and_cache_change_nothing_but_the_speed(train, full_run, tmp_path):
    again = train("dataset.num_workers=2", "dataset.cache=none", into=tmp_path)
    assert again.name == full_run.name
    assert record_of(again).metrics == record_of(full_run).metrics


def test_a_finished_run_is_not_done_again_unless_asked_and_then_set_aside(train, tmp_path, capsys):
    folder = train("trainer.max_epochs=1", "dataset.num_train=4")
    written = (folder / "record.json").read_bytes()
    assert train("trainer.max_epochs=1", "dataset.num_train=4") == folder
    assert "Already finished" in capsys.readouterr().out
    assert (folder / "record.json").read_bytes() == written
    train("trainer.max_epochs=1", "dataset.num_train=4", "rerun=true")
    assert (folder / "record.json").read_bytes() != written
    (aside,) = (folder.parent / ".replaced").iterdir()
    assert (aside / "record.json").read_bytes() == written


def test_images_without_any_object_are_refused_with_what_gives_more(train):
    """The one picture of train, or of val, that `draw_seed` 70 draws is empty."""
    with pytest.raises(UserError, match=r"train .*nothing can be learnt\. Raise dataset\.num_train\."):
        train("dataset.num_train=1", "dataset.num_val=1", "dataset.draw_seed=70")
    with pytest.raises(UserError, match=r"val .*mAP cannot be computed\. Raise dataset\.num_val\."):
        train("dataset.num_val=1", "dataset.draw_seed=70")


@pytest.mark.parametrize("name", ["train", "val"])
def test_a_share_of_the_batches_that_is_none_is_refused_before_training(train, tmp_path, name):
    with pytest.raises(MisconfigurationException, match=rf"Try at least `limit_{name}_batches=0\.[35]"):
        train(f"trainer.limit_{name}_batches=0.1", "training.evaluate_untrained=false")
    (record,) = record_files(tmp_path / "outputs")
    folder = record.parent
    assert not (folder / "checkpoints" / "last.ckpt").exists()


def test_a_run_that_ends_within_an_epoch_is_validated_there(train, capsys):
    """Three batches an epoch, five steps."""
    settings = ("trainer.max_epochs=null", "trainer.max_steps=5", "trainer.enable_progress_bar=true")
    record = record_of(train(*settings, "training.evaluate_untrained=false"))
    assert [row["epoch"] for row in record.metrics["history"]] == [1, 2]
    assert all(row["val/map"] is not None for row in record.metrics["history"])
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines() if line[:5] == "epoch"] == ["1/2", "2/2"]
