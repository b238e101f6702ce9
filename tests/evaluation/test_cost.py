"""The cost of a run: speed of training alone, time of children too, earlier attempts added."""

import json
import subprocess
import sys
import time
from functools import partial
from types import SimpleNamespace

import lightning as L
import psutil
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch.utils.data import DataLoader

from headstart.data.batch import Batch
from headstart.evaluation import cost
from headstart.evaluation.cost import CostCallback

TRAINING, VALIDATION = 2.0, 1000.0
"""Seconds of a batch."""
RANK_0 = SimpleNamespace(is_global_zero=True, strategy=SimpleNamespace(root_device=torch.device("cpu")))
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


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "checkpoints" / "cost.json"


@pytest.fixture
def fit(clock, journal):
    return partial(fit_once, clock, journal)


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
    return Batch.of([torch.zeros(3, 1, 1)] * size)


def fit_once(clock, journal, max_epochs=1, callbacks=(), ckpt_path=None, sizes=(4, 4, 1), **options):
    """Trains on batches of these sizes, validates on two batches; gives the callback."""
    callback = CostCallback(journal)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    options = quiet | {"enable_checkpointing": False, "accelerator": "cpu", "devices": 1} | options
    trainer = L.Trainer(max_epochs=max_epochs, callbacks=[callback, *callbacks], **options)
    train, val = (DataLoader([batch_of(size) for size in each], batch_size=None) for each in (sizes, (7, 7)))
    trainer.fit(Steps(clock), train, val, ckpt_path=ckpt_path, weights_only=True)
    return callback


def test_images_per_second_are_those_of_training_batches(fit):
    callback = fit(max_epochs=2)
    assert callback.as_dict()["train_images_per_second"] == pytest.approx(9 / (3 * TRAINING))


def test_validation_within_an_epoch_does_not_slow_the_images_per_second(fit):
    callback = fit(val_check_interval=1)
    assert callback.as_dict()["train_images_per_second"] == pytest.approx(9 / (3 * TRAINING))


def test_the_images_of_all_processes_count(clock, journal):
    callback = CostCallback(journal)
    callback.on_train_epoch_start(RANK_0, None)
    clock.now += TRAINING
    callback.on_train_batch_end(SimpleNamespace(world_size=3, is_global_zero=True), None, None, batch_of(4), 0)
    assert callback.as_dict()["train_images_per_second"] == pytest.approx(12 / TRAINING)


def test_wall_seconds_are_those_of_the_whole_fit(fit):
    callback = fit(num_sanity_val_steps=0)
    assert callback.as_dict()["wall_seconds"] == pytest.approx(3 * TRAINING + 2 * VALIDATION)


ONCE = {"num_sanity_val_steps": 0, "enable_checkpointing": True}


def saving(folder):
    return [ModelCheckpoint(dirpath=folder, save_last=True, save_on_train_epoch_end=True)]


def test_what_earlier_attempts_cost_adds_up(fit, clock, tmp_path, monkeypatch):
    """The second attempt goes on after the last epoch that the first one saved."""
    monkeypatch.setattr(cost, "cpu_seconds", lambda: 3 * clock.now)
    memory = iter([300.0, 200.0, 100.0])
    monkeypatch.setattr(cost, "_memory_mib", lambda device: next(memory))
    fit(2, saving(tmp_path), sizes=(4,), **ONCE)
    clock.now += 77777.0
    callback = fit(3, saving(tmp_path), tmp_path / "last.ckpt", sizes=(1, 1), **ONCE)
    both = callback.as_dict()
    assert both["train_images_per_second"] == pytest.approx((2 * 4 + 2) / (4 * TRAINING))
    assert both["wall_seconds"] == pytest.approx(4 * TRAINING + 6 * VALIDATION)
    assert both["cpu_seconds"] == pytest.approx(3 * both["wall_seconds"])
    assert both["peak_memory_mib"] == 300


class Killed(Exception):
    pass


class Kill(Callback):
    """In the midst of an epoch."""

    def __init__(self, epoch, batch):
        self.when = (epoch, batch)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == self.when:
            raise Killed


@pytest.mark.parametrize("epoch", [0, 2])
def test_epochs_that_were_lost_are_counted(fit, clock, tmp_path, monkeypatch, epoch):
    """Killed after two batches of an epoch that the next attempt trains again; of the first, without a checkpoint."""
    monkeypatch.setattr(cost, "cpu_seconds", lambda: 3 * clock.now)
    monkeypatch.setattr(cost, "WRITTEN_EVERY_SECONDS", 0.0)
    monkeypatch.delattr(CostCallback, "on_exception")  # SIGKILL calls nothing
    with pytest.raises(Killed):
        fit(3, [*saving(tmp_path), Kill(epoch, 2)], **ONCE)
    clock.now += 77777.0
    last = tmp_path / "last.ckpt"
    spent = fit(3, saving(tmp_path), last if last.exists() else None, **ONCE).as_dict()
    assert spent["wall_seconds"] == pytest.approx((3 * 3 + 2) * TRAINING + 3 * 2 * VALIDATION)
    assert spent["cpu_seconds"] == pytest.approx(3 * spent["wall_seconds"])
    assert spent["train_images_per_second"] == pytest.approx((3 * 9 + 8) / ((3 * 3 + 2) * TRAINING))


def test_an_attempt_that_fails_or_is_interrupted_is_counted_to_its_end(fit, journal):
    with pytest.raises(Killed):
        fit(1, [Kill(0, 2)], sizes=(1, 1, 1), num_sanity_val_steps=0)
    assert json.loads(journal.read_text())["wall_seconds"] == pytest.approx(2 * TRAINING)


def test_the_journal_is_written_now_and_then_and_not_every_step(fit, clock, journal, monkeypatch):
    """Steps take 2 seconds: it is written after the third of each epoch, which is its end, and in validation."""
    written = []
    monkeypatch.setattr(cost.json, "dumps", lambda totals: written.append(totals["images"]) or "{}")
    fit(1, sizes=(1,) * 7, num_sanity_val_steps=0)
    assert written == [0, 3, 6, 7, 7, 7, 7]  # begin, steps 3 and 6, two batches validated, epoch, end


def test_without_the_journal_the_checkpoint_says_what_was_spent(fit, clock, journal, tmp_path):
    fit(2, saving(tmp_path), sizes=(4,), **ONCE)
    journal.unlink()
    spent = fit(3, saving(tmp_path), tmp_path / "last.ckpt", sizes=(4,), **ONCE).as_dict()
    assert spent["wall_seconds"] == pytest.approx(3 * TRAINING + 6 * VALIDATION)


def test_memory_is_that_of_the_device_trained_on(monkeypatch):
    """Not that of a GPU that is there and idle."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device=None: {0: 7, 1: 5}[device.index] * cost.MIB)
    assert cost._memory_mib(torch.device("cpu")) == pytest.approx(
        psutil.Process().memory_info().rss / cost.MIB, rel=0.2
    )
    assert cost._memory_mib(torch.device("cuda", 1)) == 5


def test_memory_is_that_of_the_process_that_needs_most(journal, monkeypatch):
    monkeypatch.setattr(cost, "_memory_mib", lambda device: 300.0)
    most_of_others = {"max": lambda own: torch.maximum(own, torch.tensor(900.0))}
    strategy = SimpleNamespace(
        root_device=torch.device("cpu"), reduce=lambda value, reduce_op: most_of_others[reduce_op](value)
    )
    callback = CostCallback(journal)
    callback.on_train_epoch_end(SimpleNamespace(strategy=strategy, is_global_zero=True), None)
    assert callback.as_dict()["peak_memory_mib"] == 900


def cpu_seconds_of(work, journal):
    """What the callback counts from the fit's start to its end, and what this process used in between."""
    callback, own = CostCallback(journal), time.process_time()
    callback.on_fit_start(RANK_0, None)
    work()
    callback.on_train_end(RANK_0, None)
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
def test_cpu_seconds_have_those_of_a_child_that_lives_or_has_ended(child, journal, stays):
    def work():
        process = child(BURN + STAY)
        if not stays:
            end(process)

    counted, own = cpu_seconds_of(work, journal)
    assert 0.35 < counted - own < 1.5


def test_cpu_seconds_have_those_of_a_childs_child_that_has_ended(child, journal):
    script = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN!r}])\n" + STAY
    counted, own = cpu_seconds_of(lambda: child(script), journal)
    assert 0.35 < counted - own < 1.5


def test_cpu_seconds_have_nothing_from_before_the_fit(child, journal):
    process = child(BURN + STAY)
    counted, own = cpu_seconds_of(lambda: end(process), journal)
    assert counted - own < 0.3
