"""Strategies in whole runs: what they leave in the record, the export and the history."""

import json

import pytest
import torch
from safetensors.torch import load_file

from headstart.config.schema import EvaluateConfig
from headstart.evaluate import evaluate
from headstart.inference.export import load_exported
from headstart.records.record import RunRecord

TO_THE_SOURCES_KIND = ("dataset=shapes_source", "trainer.max_epochs=2")


def record_of(folder):
    return RunRecord.read(folder / "record.json")


def from_source(folder, *more):
    return ("source=checkpoint", f"source.path={folder}", *more)


@pytest.mark.slow
def test_the_best_mixture_is_what_is_reported_exported_and_measured_again(train, full_run):
    folder = train(*from_source(full_run, "strategy=wise_ft", "evaluation.retention=true", *TO_THE_SOURCES_KIND))
    metrics = record_of(folder).metrics
    curve = metrics["interpolation"]
    assert [row["alpha"] for row in curve] == [0, 0.25, 0.5, 0.75, 1]
    assert all(row["source_map"] is not None for row in curve)
    (kept,) = [row for row in curve if row["kept"]]
    assert kept["map"] == max(row["map"] for row in curve) == pytest.approx(metrics["val"]["map"])
    assert evaluate(EvaluateConfig(run=str(folder))).map == pytest.approx(metrics["val"]["map"])
    # With the source's weights alone, the source's own images give the source's own number.
    source = record_of(full_run).metrics["val"]["map"]
    assert metrics["retention"]["before"]["map"] == pytest.approx(source)
    assert metrics["retention"]["after"]["map"] == pytest.approx(kept["source_map"])
    assert metrics["retention"]["classes"] == ["circle", "triangle", "star"]


@pytest.mark.slow
def test_mixtures_are_paid_for_what_is_measured_beside_is_not_and_the_choice_is_told(train, full_run):
    folder = train(*from_source(full_run, "strategy=wise_ft", "evaluation.retention=true", *TO_THE_SOURCES_KIND))
    record = record_of(folder)
    assert set(record.cost["parts"]) == {"interpolation"}
    spent = record.cost["parts"]["interpolation"]
    # Five validations beside the two of the fit, which trains on ten images as well.
    assert 0.2 * record.cost["wall_seconds"] < spent["wall_seconds"] < record.cost["wall_seconds"]
    assert 0 < spent["cpu_seconds"] < record.cost["cpu_seconds"]
    assert record.metrics["selection"] == {"epochs": 2, "mixtures": 5}
    source = record_of(full_run).cost
    assert record.cost["source"] == {
        "wall_seconds": source["wall_seconds"],
        "cpu_seconds": source["cpu_seconds"],
        "run": full_run.name,
    }


def test_adapters_are_merged_into_the_plain_network_and_the_frozen_weights_below_them_stood_still(train, full_run):
    folder = train(*from_source(full_run, "strategy=lora"))
    before, after = load_file(full_run / "model.safetensors"), load_file(folder / "model.safetensors")
    assert list(before) == list(after)
    weight, norm = "backbone.body.blocks.3.0.conv_pw.weight", "backbone.body.blocks.3.0.bn1.weight"
    assert not torch.equal(before[weight], after[weight])
    assert torch.equal(before[norm], after[norm])
    record = record_of(folder)
    rows = {row["stage"]: row for row in record.plan}
    assert rows["stage3"]["frozen_tensors"] > 0
    assert rows["stage3"]["frozen_digest_before"] == rows["stage3"]["frozen_digest_after"]
    assert rows["stage3"]["trainable"] > 0
    assert record.cost["trained_parameters"] < 0.5 * record.cost["total_parameters"]
    assert evaluate(EvaluateConfig(run=str(folder))).map == pytest.approx(record.metrics["val"]["map"])


def test_recalibration_moves_the_statistics_of_frozen_stages_and_nothing_else_in_them(train, full_run):
    folder = train(*from_source(full_run, "strategy=head_only", "strategy.norm=recalibrate", *TO_THE_SOURCES_KIND))
    before, after = load_file(full_run / "model.safetensors"), load_file(folder / "model.safetensors")
    body = [name for name in before if name.startswith("backbone.body.")]
    moved = {name for name in body if not torch.equal(before[name], after[name])}
    statistics = {name for name in body if name.endswith(("running_mean", "running_var", "num_batches_tracked"))}
    assert moved == statistics


def test_tfa_trains_the_last_layers_alone_and_its_export_knows_the_cosine_head(train, full_run):
    folder = train(*from_source(full_run, "strategy=tfa", "dataset.shots=2", *TO_THE_SOURCES_KIND))
    before, after = load_file(full_run / "model.safetensors"), load_file(folder / "model.safetensors")
    same = {
        name for name in after if before[name].shape == after[name].shape and torch.equal(before[name], after[name])
    }
    last = load_exported(folder)[0].predictors()
    assert set(after) - same == {name for name in after if name.startswith(last)}
    assert json.loads((folder / "model.json").read_text())["cosine_scale"] == 20
    assert evaluate(EvaluateConfig(run=str(folder))).map == pytest.approx(record_of(folder).metrics["val"]["map"])


@pytest.mark.slow
def test_a_pull_keeps_the_weights_nearer_to_the_source(train, full_run):
    source = load_file(full_run / "model.safetensors")

    def distance(folder):
        tuned = load_file(folder / "model.safetensors")
        return sum((tuned[n] - source[n]).square().sum() for n in source if n.endswith("weight")).sqrt()

    settings = from_source(full_run, "monitor.name=train/loss", "monitor.mode=min")  # the last epoch is the best
    free = train(*settings, "strategy=full", "optimizer.weight_decay=0")
    pulled = train(*settings, "strategy=l2_sp", "strategy.pull.strength=1000")
    assert distance(pulled) < 0.8 * distance(free)


def test_the_teachers_losses_are_in_the_history(train, full_run):
    history = record_of(train(*from_source(full_run, "strategy=distill"))).metrics["history"]
    first, second = history[1], history[2]
    assert first["train/distill_features"] > 0
    assert second["train/distill_outputs"] > 0
