"""What is left of the source's task, of a real run on drawn shapes: all of it before training, less after damage."""

import dataclasses
import math

import pytest
import torch

from headstart.config.compose import compose
from headstart.evaluation.coco_map import MapResult
from headstart.parts.retention import read_retention
from headstart.records.record import RunRecord
from headstart.run import prepare

SHARED = ["circle", "triangle", "star"]
CLASS_HEAD = "head.classification_head.cls_logits"


@pytest.fixture
def config(full_run, tmp_path):
    """A run on shapes_source at another image size, from a finished one on shapes."""
    return compose(
        [
            "dataset=shapes_source",
            "dataset.num_train=4",
            "dataset.num_val=2",
            "dataset.min_size=64",
            "dataset.max_size=96",
            "source=checkpoint",
            f"source.path={full_run}",
            "model.score_threshold=0.5",
            "trainer.accelerator=cpu",
            "trainer.precision=32-true",
            "trainer.enable_progress_bar=false",
            "logger=csv",
            "evaluation.retention=true",
            f"output_dir={tmp_path}",
        ]
    )


def test_untouched_weights_retain_everything_and_measure_what_the_sources_run_measured(config, full_run):
    experiment, retention = prepare(config), read_retention(config)
    assert retention is not None
    found = retention.result(experiment.detector, experiment.report)
    assert found["retained"] == 1.0
    assert found["before"] == found["after"]
    assert (found["dataset"], found["classes"]) == ("shapes", SHARED)
    then = RunRecord.read(full_run / "record.json").metrics["val"]
    assert found["before"]["map"] == pytest.approx(then["map"], abs=1e-6)
    assert found["before"]["map_50"] == pytest.approx(then["map_50"], abs=1e-6)
    shared = [ap for name in SHARED if (ap := then["per_class"][name]) is not None]  # None: no ground truth
    assert found["before"]["map_shared"] == pytest.approx(sum(shared) / len(shared), abs=1e-6)


def test_the_table_of_the_data_is_the_runs_own_and_stands_once(config, capsys):
    prepare(config)
    titles = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Data: ")]
    assert titles == ["Data: shapes_source"]


def test_a_damaged_head_retains_the_classes_that_it_does_not_hold(config):
    experiment, retention = prepare(config), read_retention(config)
    assert retention is not None
    found_before = dict.fromkeys(retention.before.per_class, 0.4)  # so short a training finds hardly anything
    retention.before = dataclasses.replace(retention.before, map=0.4, per_class=found_before)
    with torch.no_grad():
        experiment.detector.get_parameter(f"{CLASS_HEAD}.weight").zero_()
        experiment.detector.get_parameter(f"{CLASS_HEAD}.bias").fill_(-20.0)  # below every score threshold
    found = retention.result(experiment.detector, experiment.report)
    assert found["after"]["map_shared"] == 0.0 < found["before"]["map_shared"]
    assert found["retained"] == found["after"]["map"] / found["before"]["map"] < 1.0


def test_a_source_that_finds_nothing_has_nothing_to_retain(config):
    experiment, retention = prepare(config), read_retention(config)
    assert retention is not None
    retention.before = dataclasses.replace(retention.before, map=0.0)
    assert math.isnan(retention.result(experiment.detector, experiment.report)["retained"])


def test_the_source_is_measured_once_however_many_results_are_compared_to_it(config, monkeypatch):
    experiment, retention = prepare(config), read_retention(config)
    assert retention is not None
    measured = []
    monkeypatch.setattr(retention, "_measure", lambda detector: measured.append(detector) or no_detections(retention))
    for _ in range(2):
        retention.result(experiment.detector, experiment.report)
    assert len(measured) == 3


def no_detections(retention):
    nothing = dict.fromkeys(retention.info.class_names, 0.0)
    return MapResult(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, nothing, nothing, 5)
