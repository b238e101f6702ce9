"""Every trainable parameter is in exactly one group, at the rate and decay it should have."""

from dataclasses import replace

import pytest
import torch

from headstart.config.schema import AdamWConfig, StrategyConfig
from headstart.transfer.freezing import apply_phase
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.param_groups import optimizer_groups
from headstart.transfer.strategy import make_plan


@pytest.fixture
def planned(tiny, weights_of):
    def build(freeze_through=None, **strategy):
        detector = tiny()
        report = apply_source(detector, weights_of(tiny(seed=1)))
        config = StrategyConfig(name="test", freeze_through=freeze_through, lr={"adamw": 1e-2}, **strategy)
        plan = make_plan(config, AdamWConfig(name="adamw", weight_decay=0.1), detector, report)
        apply_phase(detector, plan.phases[0])
        return detector, plan

    return build


@pytest.mark.parametrize("freeze_through", [None, "stem", "stage1", "stage2", "neck"])
def test_every_trainable_parameter_is_in_exactly_one_group(planned, freeze_through):
    detector, plan = planned(freeze_through)
    grouped = [id(parameter) for group in optimizer_groups(detector, plan) for parameter in group["params"]]
    trainable = [id(parameter) for parameter in detector.parameters() if parameter.requires_grad]
    assert sorted(grouped) == sorted(trainable)


def test_biases_and_normalisation_do_not_decay_and_weights_do(planned):
    detector, plan = planned()
    decay = {name: group.weight_decay for group in plan.groups for name in group.parameters}
    weights = {"backbone.stem.conv", "backbone.stage1.conv", "backbone.stage2.conv", "neck.0", "head.cls", "head.box"}
    assert {name for name, value in decay.items() if value == 0.1} == {f"{name}.weight" for name in weights}
    assert set(decay.values()) == {0.0, 0.1}
    assert set(decay) == {name for name, _ in detector.named_parameters()}


def test_groups_have_the_rate_of_their_stage(planned):
    detector, plan = planned(lr_factors={"stem": 0.01, "head": 2.0})
    rates = {group["name"]: group["lr"] for group in torch.optim.AdamW(optimizer_groups(detector, plan)).param_groups}
    assert rates == pytest.approx(
        {
            "stem": 1e-4,
            "stem/no_decay": 1e-4,
            "stage1": 1e-2,
            "stage1/no_decay": 1e-2,
            "stage2": 1e-2,
            "stage2/no_decay": 1e-2,
            "neck": 1e-2,
            "neck/no_decay": 1e-2,
            "head": 2e-2,
            "head/no_decay": 2e-2,
        }
    )


def test_a_plan_that_covers_a_parameter_twice_or_never_is_our_mistake(planned):
    detector, plan = planned()
    with pytest.raises(AssertionError, match="two groups"):
        optimizer_groups(detector, replace(plan, groups=(*plan.groups, plan.groups[0])))
    with pytest.raises(AssertionError, match="differ"):
        optimizer_groups(detector, replace(plan, groups=plan.groups[1:]))


def test_the_optimizer_state_round_trips(planned):
    detector, plan = planned("stage1")
    optimizer = torch.optim.AdamW(optimizer_groups(detector, plan))
    state = optimizer.state_dict()
    other, _ = planned("stage1")
    again = torch.optim.AdamW(optimizer_groups(other, plan))
    again.load_state_dict(state)
    assert again.state_dict() == state
