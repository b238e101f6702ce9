"""Lightning's own words about devices, ranks and seeds reach no terminal; what was asked for does."""

import logging
import warnings
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from lightning.fabric.accelerators import cuda
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning.pytorch.callbacks import ModelSummary
from lightning.pytorch.trainer import setup
from lightning.pytorch.trainer.connectors.logger_connector import result

from headstart.training.quiet import quieten


@pytest.fixture
def told(monkeypatch):
    """What the loggers of Lightning let through, and its warnings: in the place of a terminal. As on a machine with a
    GPU."""
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    monkeypatch.setattr(CUDAAccelerator, "is_available", lambda: True)
    cuda._check_cuda_matmul_precision.cache_clear()
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = {logger: logger.level for logger in loggers}
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
    with warnings.catch_warnings(record=True) as warned:
        yield lambda: [*lines, *(str(warning.message) for warning in warned)]
    for logger, level in levels.items():
        logger.removeHandler(handler)
        logger.setLevel(level)


def talk() -> None:
    """All that Lightning says before the first step with `trainer=gpu`, and with `trainer=cpu` beside a GPU."""
    CUDAAccelerator.set_nvidia_flags(0)
    cuda._check_cuda_matmul_precision(torch.device("cuda", 0))
    for accelerator in (CUDAAccelerator(), L.pytorch.accelerators.CPUAccelerator()):
        setup._log_device_info(SimpleNamespace(accelerator=accelerator, num_devices=1))  # type: ignore[arg-type]
    L.seed_everything(0)
    L.Trainer(accelerator="cpu", fast_dev_run=True, logger=False)


def test_nothing_of_devices_ranks_and_seeds_is_told(told):
    talk()
    before = " ".join(told())
    for words in ("LOCAL_RANK", "GPU available: True", "not used", "You are using a CUDA device", "Seed set", "TPU"):
        assert words in before
    count = len(told())
    quieten()
    cuda._check_cuda_matmul_precision.cache_clear()
    talk()
    assert told()[count:] == []


def test_the_table_of_the_model_is_told_where_it_was_asked_for(told, make_module):
    quieten()
    rows = [["", ["0"]], ["Name", ["detector"]], ["Type", ["Tiny"]], ["Params", ["1"]], ["Mode", ["train"]]]
    ModelSummary.summarize(rows, 1, 1, 1.0, {"train": 1, "eval": 0}, 0)  # type: ignore[arg-type]
    assert "detector" in " ".join(told())


def test_of_several_processes_what_is_measured_over_all_of_them_is_no_reason_to_warn(
    told, make_module, make_trainer, batches, monkeypatch
):
    """Lightning would have each value averaged once more; it warns of each one once in a process."""
    monkeypatch.setattr(result, "_distributed_is_initialized", lambda: True)
    monkeypatch.setattr(result, "warning_cache", type(result.warning_cache)())
    make_trainer().validate(make_module(), batches(1), verbose=False)
    before = told()
    assert any("sync_dist=True" in line and "val/map" in line for line in before)
    monkeypatch.setattr(result, "warning_cache", type(result.warning_cache)())
    quieten()
    make_trainer().validate(make_module(), batches(1), verbose=False)
    assert told()[len(before) :] == []
