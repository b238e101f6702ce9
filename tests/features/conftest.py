"""Experiments with the tiny detector on drawn shapes, frozen as asked."""

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headstart.run
from headstart.config.compose import compose
from headstart.config.schema import RunConfig
from headstart.runs.experiment import Experiment
from headstart.transfer.types import SourceWeights

DRAWN = ("dataset.num_train=5", "dataset.num_val=3")
SMALL = (
    "dataset.min_size=48",
    "dataset.max_size=64",
    "dataset.batch_size=2",
    "dataset.num_workers=0",
    "augment=none",
    "trainer.max_epochs=4",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "logger=csv",
)


@functools.cache
def composed(words: tuple[str, ...]) -> RunConfig:
    return compose([*SMALL, *words])


@pytest.fixture
def experiment(tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Experiment]:
    """`experiment(*words)`: before its first step; the source is another tiny detector. `drawn`: of drawn shapes."""

    def source(config: Any, model: Any, backbone: Any, detector: Any) -> SourceWeights:
        return SourceWeights("checkpoint", dict(tiny(detector.class_names, seed=1).state_dict()), ("",))

    monkeypatch.setattr(
        headstart.run, "build_detector", lambda model, backbone, names, rules: tiny(names, neck_dropout=0.5)
    )
    monkeypatch.setattr(headstart.run, "load_source", source)

    def make(*words: str, drawn: bool = True) -> Experiment:
        config = copy.deepcopy(composed((*(DRAWN if drawn else ()), *words)))
        config.output_dir = str(tmp_path)
        return headstart.run.prepare(config, show=False)

    return make
