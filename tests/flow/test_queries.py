"""Whole runs of D-FINE and RT-DETR, from a hub's folder and from a classifier of ImageNet."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from headstart.data.batch import Batch
from headstart.detectors.detr import QueryDetector
from headstart.inference.export import load_exported
from headstart.records.record import RunRecord

pytest.importorskip("transformers")
SMALL = ("source=scratch", "model.hidden=32", "model.layers=2", "model.queries=40", "strategy=full")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["d_fine", "rt_detr"])
def test_an_interrupted_run_comes_out_as_if_nothing_had_happened(model, train, tmp_path, monkeypatch):
    words = (f"model={model}", *SMALL)
    whole = train(*words, into=tmp_path / "whole")
    calls = []

    def stopped(self: QueryDetector, batch: Batch, features=None, through=QueryDetector.losses):
        calls.append(1)
        if len(calls) == 5:  # in the second epoch
            raise RuntimeError("the plug is pulled")
        return through(self, batch, features)

    with monkeypatch.context() as patch:
        patch.setattr(QueryDetector, "losses", stopped)
        with pytest.raises(RuntimeError, match="the plug"):
            train(*words, into=tmp_path / "stopped")
    gone_on = train(*words, into=tmp_path / "stopped")
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (gone_on, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["partial_freeze", "lora", "distill"])
def test_a_run_ends_with_a_model_that_is_rebuilt(strategy, train):
    folder: Path = train("model=d_fine", *SMALL[1:4], "source=imagenet", f"strategy={strategy}")
    detector, exported = load_exported(folder)
    assert isinstance(detector, QueryDetector)
    assert exported.architecture == "d_fine"
    assert RunRecord.read(folder / "record.json").lineage[0] == "imagenet"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("model", ["d_fine", "rt_detr"])
def test_a_small_one_on_a_classifier_of_imagenet_learns_the_drawn_shapes_from_a_hundred_pictures(model, train):
    """From nothing to a detector that finds half of what there is."""
    folder = train(
        f"model={model}",
        "source=imagenet",
        "strategy=full",
        "dataset=shapes_source",
        "dataset.num_train=100",
        "dataset.num_val=40",
        "dataset.batch_size=4",
        "trainer.max_epochs=40",
        "trainer.check_val_every_n_epoch=40",
        "augment=light",
    )
    metrics = RunRecord.read(folder / "record.json").metrics
    assert metrics["history"][0]["val/map_50"] < 0.05
    assert metrics["val"]["map_50"] > 0.5
