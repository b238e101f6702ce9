"""In which arithmetic a run computes is known before it begins."""

import pytest
import torch

from headstart.build import optimizer_factory
from headstart.config.schema import AdamWConfig, SGDConfig, TrainerConfig
from headstart.runs.arithmetic import arithmetic, device_name

ADAMW = AdamWConfig(name="adamw", _target_="torch.optim.AdamW", weight_decay=0.1)
SGD = SGDConfig(name="sgd", _target_="torch.optim.SGD", weight_decay=0.1)


def test_precision_device_and_threads_are_those_that_train():
    found = arithmetic(TrainerConfig(accelerator="cpu", precision="bf16-mixed"), ADAMW)
    threads = torch.get_num_threads()
    known = {"precision": "bf16-mixed", "device": "cpu"}
    assert found == known | {"fused_optimizer": True, "threads": threads}
    assert arithmetic(TrainerConfig(accelerator="cpu"), ADAMW)["precision"] in (
        "32-true",
        "bf16-mixed",
    )


@pytest.mark.parametrize("optimizer", [ADAMW, SGD, {"name": "own", "_target_": "torch.optim.AdamW", "foreach": True}])
def test_the_optimizer_is_the_one_the_record_says_and_moves_as_the_plain_one(optimizer):
    """Against the plain loop in float64, over ten steps."""
    found = arithmetic(TrainerConfig(accelerator="cpu"), optimizer)["fused_optimizer"]
    weight = torch.nn.Parameter(torch.randn(1000))
    exact = torch.nn.Parameter(weight.detach().double())
    made = optimizer_factory(optimizer)([{"params": [weight], "lr": 1e-2, "weight_decay": 0.1}])
    plain = type(made)([exact], lr=1e-2, weight_decay=0.1, foreach=False, **momentum_of(optimizer))
    for _ in range(10):
        weight.grad = torch.randn(1000)
        exact.grad = weight.grad.double()
        made.step()
        plain.step()
    assert bool(made.param_groups[0]["fused"]) is found is (optimizer is ADAMW)
    torch.testing.assert_close(weight.double(), exact, rtol=1e-5, atol=1e-6)


def momentum_of(optimizer):
    return {"momentum": optimizer.momentum} if optimizer is SGD else {}


@pytest.mark.parametrize(
    ("accelerator", "devices", "expected"),
    [("auto", 1, "GPU 0"), ("gpu", -1, "GPU 0"), ("cuda", [1], "GPU 1"), ("cpu", 1, "cpu")],
)
def test_a_gpu_is_known_by_its_name(monkeypatch, accelerator, devices, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    assert device_name(TrainerConfig(accelerator=accelerator, devices=devices)) == expected
