"""The cost of a run: speed of training alone, time of children too, earlier attempts added."""

import subprocess
import sys
import time
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from headstart.data.types import Batch, Target
from headstart.evaluation import cost
from headstart.evaluation.cost import CostCallback

TRAINING, VALIDATION = 2.0, 1000.0
"""Seconds of a batch."""
BURN = "import time\nwhile time.process_time() < 0.4: pass\n"
STAY = "print(flush=True)\ninput()\n"


class Clock:
    """Time passes only where a step says so."""

    def __init__(self):
        self.now = 5000.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(cost, "time", clock)
    return clock


class Steps(L.LightningModule):
    """Training and validation steps that take time and do nothing else."""

    def __init__(self, clock):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.clock = clock

    def training_step(self, batch, batch_idx):
        self.clock.now += TRAINING
        return self.weight.sum()

    def validation_step(self, batch, batch_idx):
        self.clock.now += VALIDATION

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def batch_of(size):
    nothing = torch.zeros(0)
    return Batch([nothing] * size, [Target(0, *[nothing] * 5, (1, 1), (1, 1))] * size)


def fit(clock, max_epochs=1, callbacks=(), ckpt_path=None, sizes=(4, 4, 1), **options):
    """Trains on batches of these sizes, validates on two batches; gives the callback."""
    callback = CostCallback()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    options = quiet | {"enable_checkpointing": False, "accelerator": "cpu", "devices": 1} | options
    trainer = L.Trainer(max_epochs=max_epochs, callbacks=[callback, *callbacks], **options)
    train, val = (DataLoader([batch_of(size) for size in each], batch_size=None) for each in (sizes, (7, 7)))
    trainer.fit(Steps(clock), train, val, ckpt_path=ckpt_path, weights_only=True)
    return callback


def test_images_per_second_are_those_of_training_batches(clock):
    callback = fit(clock, max_epochs=2)
    assert callback.as_dict()["train_images_per_second"] == pytest.approx(9 / (3 * TRAINING))


def test_validation_within_an_epoch_does_not_slow_the_images_per_second(clock):
    callback = fit(clock, val_check_interval=1)
    assert callback.as_dict()["train_images_per_second"] == pytest.approx(9 / (3 * TRAINING))


def test_the_images_of_all_processes_count(clock):
    callback = CostCallback()
    trainer = SimpleNamespace(world_size=3)
    callback.on_train_epoch_start(trainer, None)
    clock.now += TRAINING
    callback.on_train_batch_end(trainer, None, None, batch_of(4), 0)
    callback.on_train_end(trainer, None)
    assert callback.as_dict()["train_images_per_second"] == pytest.approx(12 / TRAINING)


def test_wall_seconds_are_those_of_the_whole_fit(clock):
    callback = fit(clock, num_sanity_val_steps=0)
    assert callback.as_dict()["wall_seconds"] == pytest.approx(3 * TRAINING + 2 * VALIDATION)


def test_what_earlier_attempts_cost_adds_up(clock, tmp_path, monkeypatch):
    """The second attempt goes on after the last epoch that the first one saved."""
    monkeypatch.setattr(cost, "cpu_seconds", lambda: 3 * clock.now)
    monkeypatch.setattr(cost, "_memory_mib", iter([300.0, 200.0, 100.0]).__next__)
    saved = {"dirpath": tmp_path, "save_last": True, "save_on_train_epoch_end": True}
    options = {"num_sanity_val_steps": 0, "enable_checkpointing": True}
    fit(clock, 2, [ModelCheckpoint(**saved)], sizes=(4,), **options)
    clock.now += 77777.0
    callback = fit(clock, 3, [ModelCheckpoint(**saved)], tmp_path / "last.ckpt", sizes=(1, 1), **options)
    both = callback.as_dict()
    assert both["train_images_per_second"] == pytest.approx((2 * 4 + 2) / (4 * TRAINING))
    assert both["wall_seconds"] == pytest.approx(4 * TRAINING + 6 * VALIDATION)
    assert both["cpu_seconds"] == pytest.approx(3 * both["wall_seconds"])
    assert both["peak_memory_mib"] == 300


def cpu_seconds_of(work):
    """What the callback counts from the fit's start to its end, and what this process used in between."""
    callback, own = CostCallback(), time.process_time()
    callback.on_fit_start(None, None)
    work()
    callback.on_train_end(None, None)
    return callback.as_dict()["cpu_seconds"], time.process_time() - own


@pytest.fixture
def child():
    """Starts a script in a process of its own and waits for its first line."""
    children = []

    def start(script):
        process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        children.append(process)
        process.stdout.readline()
        return process

    yield start
    for process in children:
        end(process)


def end(process):
    if process.poll() is None:
        process.communicate(b"\n", timeout=20)


@pytest.mark.parametrize("stays", [True, False])
def test_cpu_seconds_have_those_of_a_child_that_lives_or_has_ended(child, stays):
    def work():
        process = child(BURN + STAY)
        if not stays:
            end(process)

    counted, own = cpu_seconds_of(work)
    assert 0.35 < counted - own < 1.5


def test_cpu_seconds_have_those_of_a_childs_child_that_has_ended(child):
    script = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN!r}])\n" + STAY
    counted, own = cpu_seconds_of(lambda: child(script))
    assert 0.35 < counted - own < 1.5


def test_cpu_seconds_have_nothing_from_before_the_fit(child):
    process = child(BURN + STAY)
    counted, own = cpu_seconds_of(lambda: end(process))
    assert counted - own < 0.3
