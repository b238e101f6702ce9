"""A LightningModule around the tiny detector, with batches drawn by code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from headstart.config.schema import AdamWConfig, Decay, SchedulerConfig, StrategyConfig
from headstart.data.batch import Batch
from headstart.data.types import Target
from headstart.evaluation.coco_map import CocoMeanAveragePrecision
from headstart.training.module import DetectionModule
from headstart.transfer.freezing import apply_phase
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.strategy import make_plan
from headstart.transfer.types import SourceWeights

ADAMW = AdamWConfig(name="adamw", weight_decay=0.1)
SCHEDULER = SchedulerConfig(name="constant", decay=Decay.constant, warmup_fraction=0.0)


def a_batch(number: int, size: int = 2) -> Batch:
    generator = torch.Generator().manual_seed(number)
    images = [torch.rand(3, 32, 32, generator=generator) for _ in range(size)]
    box, label, no = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([0]), torch.tensor([False])
    targets = [Target(number * size + i, box, label, no, no, torch.ones(1), (32, 32), (32, 32)) for i in range(size)]
    return Batch.of(images, targets)


@pytest.fixture
def batches() -> Callable[..., DataLoader[Batch]]:
    """`batches(count, first=0)`: a loader; each number is a batch of its own."""
    return lambda count, first=0: DataLoader([a_batch(first + i) for i in range(count)], batch_size=None)


@pytest.fixture
def make_module(tiny: Callable[..., Any]) -> Callable[..., DetectionModule]:
    """`make_module(freeze_through=…)`: the source is another tiny detector with the same classes."""

    def make(scheduler: SchedulerConfig = SCHEDULER, seed: int = 0, **strategy: Any) -> DetectionModule:
        detector, source = tiny(), tiny(seed=1)
        weights = SourceWeights("checkpoint", dict(source.state_dict()), ("",), row_names=source.class_names)
        report = apply_source(detector, weights)
        plan = make_plan(StrategyConfig(name="test", lr={"adamw": 1e-2}, **strategy), ADAMW, detector, report, 9)
        apply_phase(detector, plan.phases[0])
        metric = CocoMeanAveragePrecision(detector.class_names)
        return DetectionModule(detector, plan, metric, torch.optim.AdamW, scheduler, seed)

    return make


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., L.Trainer]:
    """Lightning's own, quiet, on the CPU."""

    def make(max_epochs: int = 2, **settings: Any) -> L.Trainer:
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        quiet |= {"enable_checkpointing": False, "num_sanity_val_steps": 0, "default_root_dir": tmp_path}
        return L.Trainer(accelerator="cpu", devices=1, max_epochs=max_epochs, **(quiet | settings))

    return make
