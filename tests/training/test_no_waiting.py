"""Nothing in a training step waits for the device: neither ours nor Lightning's around it.

On a GPU torch itself says so; on a processor `no_waiting` stands in for it.
"""

from contextlib import ExitStack, contextmanager

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from headstart import build
from headstart.config.compose import compose
from headstart.data.datamodule import DetectionDataModule
from headstart.data.info import describe
from headstart.detectors import proposals, regions, suppression
from headstart.detectors.factory import build_detector
from headstart.parts.table import parts_of
from headstart.run import equip
from headstart.runs.from_data import data_of
from headstart.training.callbacks import optional_callbacks
from headstart.training.history import History
from headstart.training.progress import EpochLines
from headstart.transfer.types import SourceWeights

from ..waiting import Waited, no_waiting

MODELS = ("retinanet", "fcos", "ssd", "ssdlite", "faster_rcnn", "yolov3", "yolox")
STRATEGIES = ("full", "head_only", "lora", "distill")
PARTS = {
    "plain": ("strategy=full",),
    "average, teacher, pull, accumulation, statistics": (
        *("strategy=distill", "+strategy.pull.strength=1", "strategy.norm=train"),
        *("training.ema_decay=0.99", "trainer.accumulate_grad_batches=2"),
    ),
    "adapters, cosine, sgd": ("strategy=lora", "strategy.cosine_scale=20", "optimizer=sgd"),
    "stored views": ("strategy=head_only", "augment=views", "strategy.feature_store=on"),
    "phases, bf16": ("strategy=gradual_unfreeze", "trainer.precision=bf16-mixed"),
}
"""All that a step may have in it; the detector is the tiny one."""
SMALL = (
    *("dataset.num_train=12", "dataset.num_val=2", "dataset.min_size=64", "dataset.max_size=64"),
    *("dataset.batch_size=2", "dataset.num_workers=0", "trainer.max_epochs=2", "trainer.log_every_n_steps=1"),
    *("trainer.enable_progress_bar=false", "logger=csv"),
)


class StepsDoNotWait(Callback):
    """From the beginning of the second step of an epoch to that of the last: whole steps, and what lies between."""

    def __init__(self, watch):
        self.watch, self.watched, self.steps = watch, ExitStack(), 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.watched.close()
        if batch_idx >= 1 and not trainer.is_last_batch:
            self.watched.enter_context(self.watch())
            self.steps += 1

    def on_exception(self, trainer, pl_module, exception):
        self.watched.close()


@contextmanager
def no_synchronisation():
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def module_of(config, data, detector):
    """With what the strategy adds; the source is another such detector, of other numbers and one class less."""
    parts = parts_of(config)
    for part in parts:
        part.shape(detector)
    values = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    background = any(axis.background for axis in detector.class_axes())
    names = (("__background__",) if background else ()) + tuple(detector.class_names)
    weights = SourceWeights("checkpoint", values, ("",), row_names=names)
    return equip(config, data, detector, weights, parts).module


def fit(tmp_path, overrides, watch, detector_of=None):
    """Two epochs of six steps; how many of those were watched."""
    config = compose([*SMALL, "dataset=shapes", f"output_dir={tmp_path}", *overrides])
    data = data_of(config, None)
    info = describe(data, config.dataset)
    detector = (detector_of or (lambda names: build_detector(config.model, config.backbone, names)))(info.class_names)
    datamodule = DetectionDataModule(data, info, config.dataset, config.augment, config.seed)
    module, steps, history = module_of(config, datamodule, detector), StepsDoNotWait(watch), History(tmp_path)
    callbacks = [history, EpochLines(history), steps, *optional_callbacks(config.training, config.monitor)]
    build.build_trainer(config.trainer, tmp_path, callbacks, [], None).fit(module, datamodule=datamodule)
    return steps.steps


@pytest.mark.parametrize("overrides", PARTS.values(), ids=PARTS)
def test_a_step_with_each_part_of_a_strategy_does_not_wait(tmp_path, tiny, overrides):
    assert fit(tmp_path, (*overrides, "trainer.accelerator=cpu"), no_waiting, tiny) == 2 * 4


def test_a_step_that_waits_is_found(tmp_path, tiny):
    def waiting(names):
        detector = tiny(names)
        losses = detector.losses
        detector.losses = lambda batch, features=None: {
            n: v * float(v > -1) for n, v in losses(batch, features).items()
        }
        return detector

    with pytest.raises(Waited, match=r"test_no_waiting\.py"):
        fit(tmp_path, ("strategy=full", "trainer.accelerator=cpu"), no_waiting, waiting)


@pytest.fixture
def as_on_a_device(monkeypatch):
    """Where a CPU has a way of its own, which may ask for numbers, that of other devices."""
    monkeypatch.setattr(proposals, "by_library", proposals.by_rounds)
    monkeypatch.setattr(suppression, "by_library", suppression.in_rounds)
    monkeypatch.setattr(regions, "rows_of", regions.all_rows)


@pytest.mark.parametrize(
    "model",
    [
        model if model in ("retinanet", "faster_rcnn") else pytest.param(model, marks=pytest.mark.slow)
        for model in MODELS
    ],
)
def test_a_step_of_each_model_does_not_wait(tmp_path, model, as_on_a_device):
    overrides = (f"model={model}", "strategy=full", "trainer.accelerator=cpu")
    assert fit(tmp_path, overrides, no_waiting) == 2 * 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("model", MODELS)
def test_on_a_gpu_no_step_synchronises(tmp_path, model, strategy):
    overrides = (f"model={model}", f"strategy={strategy}", "trainer.accelerator=gpu")
    assert fit(tmp_path, overrides, no_synchronisation) == 2 * 4
