"""The pull is what the formula says, comes after real steps only, and moves nothing but what the source gave."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from headstart.parts.pull import Pull
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.types import LoadReport


class Point(nn.Module):
    """A single number."""

    def __init__(self, value: float):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([value], dtype=torch.float64))


def report_of(*loaded, partial=(), **changes):
    return LoadReport("checkpoint", (), "", loaded, partial, {}, (), (), **changes)


def quadratic_steps(point, optimizer, schedule=None, steps=1, k=2.0, c=5.0):
    """Descends 1/2 k (w - c)^2; the value after each step."""
    values = []
    for _ in range(steps):
        optimizer.zero_grad()
        (0.5 * k * (point.w - c) ** 2).sum().backward()
        optimizer.step()
        if schedule:
            schedule.step()
        values.append(point.w.item())
    return values


def test_each_step_is_that_of_sgd_and_then_the_pull_with_the_rate_of_the_schedule():
    point = Point(1.0)
    optimizer = torch.optim.SGD(point.parameters(), lr=0.1)
    Pull(point, report_of("w"), ["w"], strength=3.0).attach(optimizer)
    found = quadratic_steps(point, optimizer, LambdaLR(optimizer, lambda step: 0.5**step), steps=4)
    w, expected = 1.0, []
    for lr in (0.1, 0.05, 0.025, 0.0125):
        w = w - lr * 2.0 * (w - 5.0)
        w = w - lr * 3.0 * (w - 1.0)
        expected.append(w)
    assert found == pytest.approx(expected, rel=1e-12)
    assert expected[0] == pytest.approx(1.8 - 0.24)  # 1 + 0.8 by the gradient, 0.3 of it back


def test_training_ends_where_gradient_and_pull_balance():
    """w = (1 - lr s)(w - lr k (w - c)) + lr s w0, solved for w."""
    point, lr, k, c, s, w0 = Point(1.0), 0.05, 2.0, 5.0, 3.0, 1.0
    optimizer = torch.optim.SGD(point.parameters(), lr=lr)
    Pull(point, report_of("w"), ["w"], strength=s).attach(optimizer)
    balance = ((1 - lr * s) * k * c + s * w0) / (k + s - lr * k * s)
    assert quadratic_steps(point, optimizer, steps=300)[-1] == pytest.approx(balance, rel=1e-12)


def test_adamw_does_not_scale_the_pull_and_each_group_has_its_rate():
    """The first step of Adam is the rate times the sign of the gradient, whatever its size."""
    pair = nn.ModuleDict({"slow": Point(1.0), "fast": Point(1.0)})
    groups = [{"params": pair["slow"].parameters(), "lr": 0.01}, {"params": pair["fast"].parameters(), "lr": 0.1}]
    optimizer = torch.optim.AdamW(groups, eps=0.0, weight_decay=0.0)
    Pull(pair, report_of("slow.w", "fast.w"), ["slow.w", "fast.w"], strength=2.0).attach(optimizer)
    with torch.no_grad():
        pair["slow"].w.fill_(4.0)
        pair["fast"].w.fill_(4.0)
    sum(1000 * (5.0 - point.w).sum() for point in pair.values()).backward()
    optimizer.step()
    assert pair["slow"].w.item() == pytest.approx(4.01 - 0.01 * 2 * 3.01, rel=1e-12)
    assert pair["fast"].w.item() == pytest.approx(4.1 - 0.1 * 2 * 3.1, rel=1e-12)


@pytest.fixture
def pulled(tiny, weights_of):
    """A detector for c, new, a from a source of a, b, c; all its tensors then 1 higher, all gradients 0."""
    detector = tiny(("c", "new", "a"))
    report = apply_source(detector, weights_of(tiny(("a", "b", "c"), seed=1)))
    rows = (0, 2, 3, 5)  # of two anchors: c, new, a, c, new, a
    report = replace(report, kept_rows={"head.cls.weight": rows, "head.cls.bias": rows})
    before = {name: parameter.detach().clone() for name, parameter in detector.named_parameters()}
    optimizer = torch.optim.SGD(detector.parameters(), lr=0.5)
    Pull(detector, report, list(before), strength=0.5).attach(optimizer)
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.add_(1.0)
            parameter.grad = torch.zeros_like(parameter)
    return detector, before, optimizer


def test_rows_of_new_classes_are_never_pulled_and_all_others_are(pulled):
    detector, before, optimizer = pulled
    moved = {name: parameter.detach().clone() for name, parameter in detector.named_parameters()}
    optimizer.step()
    for name, parameter in detector.named_parameters():
        expected = before[name] + 0.75  # 1 above, less 0.5 * 0.5
        if name.startswith("head.cls"):
            assert torch.equal(parameter[[1, 4]], moved[name][[1, 4]]), name
            expected[[1, 4]] = moved[name][[1, 4]]
        torch.testing.assert_close(parameter.detach(), expected, msg=name)


def test_what_is_frozen_stays_and_is_pulled_from_when_it_trains(pulled):
    detector, _, optimizer = pulled
    weight = detector.backbone.stem.conv.weight
    still = weight.detach().clone()
    weight.requires_grad_(False)
    optimizer.step()
    assert torch.equal(weight, still)
    weight.requires_grad_(True)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), still - 0.25)


def test_the_sources_values_follow_the_parameters_to_another_type(pulled):
    detector, before, optimizer = pulled
    detector.double()
    for parameter in detector.parameters():
        parameter.grad = None
    optimizer.step()
    for name in ("neck.0.weight", "head.box.bias"):
        torch.testing.assert_close(detector.get_parameter(name).detach(), before[name].double() + 0.75)
    torch.testing.assert_close(detector.head.cls.bias.detach()[[0, 3]], before["head.cls.bias"][[0, 3]].double() + 0.75)


@pytest.mark.parametrize("make", [torch.optim.SGD, partial(torch.optim.AdamW, fused=True, weight_decay=0.0)])
def test_a_step_that_the_scaler_skips_does_not_pull(make):
    point = Point(1.0).float()
    optimizer = make(point.parameters(), lr=0.1)
    Pull(point, report_of("w"), ["w"], strength=3.0).attach(optimizer)
    with torch.no_grad():
        point.w.fill_(2.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    values = []
    for factor in (float("inf"), 0.0):
        optimizer.zero_grad()
        scaler.scale((point.w * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        values.append(point.w.item())
    assert values == [2.0, pytest.approx(2.0 - 0.1 * 3.0)]


def test_a_parameter_that_the_source_does_not_know_is_our_mistake(tiny, weights_of):
    detector = tiny()
    report = apply_source(detector, weights_of(tiny(seed=1), "imagenet"))
    with pytest.raises(AssertionError, match=r"head\.box\.bias"):
        Pull(detector, report, ["backbone.stem.conv.weight", "head.box.bias"], 0.1)
