"""In which arithmetic a run computes is known before it begins."""

import pytest
import torch

from headstart.config.schema import TrainerConfig
from headstart.runs.arithmetic import arithmetic, device_name


def test_precision_device_and_threads_are_those_that_train():
    found = arithmetic(TrainerConfig(accelerator="cpu", precision="bf16-mixed"))
    assert found == {"precision": "bf16-mixed", "device": "cpu", "threads": torch.get_num_threads()}
    assert arithmetic(TrainerConfig(accelerator="cpu"))["precision"] in ("32-true", "bf16-mixed")


@pytest.mark.parametrize(
    ("accelerator", "devices", "expected"),
    [("auto", 1, "GPU 0"), ("gpu", -1, "GPU 0"), ("cuda", [1], "GPU 1"), ("cpu", 1, "cpu")],
)
def test_a_gpu_is_known_by_its_name(monkeypatch, accelerator, devices, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    assert device_name(TrainerConfig(accelerator=accelerator, devices=devices)) == expected
