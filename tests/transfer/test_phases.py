"""When stages open, in whole epochs; and how fast what opened learns."""

import pytest

from headstart.config.schema import (
    AdamWConfig,
    Decay,
    GradualConfig,
    PhaseConfig,
    SchedulerConfig,
    StrategyConfig,
    Thaw,
)
from headstart.errors import UserError
from headstart.training.schedule import group_factors
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.phases import epoch_of
from headstart.transfer.strategy import make_plan

ADAMW = AdamWConfig(name="adamw", weight_decay=0.1)


@pytest.fixture
def plan_of(tiny, weights_of):
    """`plan_of(epochs, **strategy)`: the tiny detector has stem, stage1, stage2, neck, head; all are filled."""

    def make(epochs=10, kind="checkpoint", **strategy):
        detector = tiny()
        report = apply_source(detector, weights_of(tiny(seed=1), kind))
        config = StrategyConfig(name="mine", lr={"adamw": 1.0}, **strategy)
        return make_plan(config, ADAMW, detector, report, epochs)

    return make


def opened_by(plan):
    """Stage -> epochs done when it begins to train."""
    return {row.stage: row.start_epoch for row in plan.stages}


@pytest.mark.parametrize(
    ("start", "epochs", "expected"), [(0.0, 10, 0), (0.25, 10, 2), (0.99, 10, 9), (0.5, 1, 0), (1, 10, 1), (9, 10, 9)]
)
def test_a_start_below_1_is_a_share_and_from_1_a_number_of_epochs(start, epochs, expected):
    assert epoch_of("x", start, epochs) == expected


@pytest.mark.parametrize("start", [-0.1, 1.5, 10, 11])
def test_a_start_outside_the_training_is_refused_by_name(start):
    with pytest.raises(UserError, match=rf"strategy.phases.a.start={start:g} .*max_epochs=10"):
        epoch_of("strategy.phases.a.start", start, 10)


def test_gradual_opens_one_stage_after_the_other_from_the_head_to_the_input(plan_of):
    plan = plan_of(freeze_through="neck", gradual=GradualConfig(first=0.2, last=0.8))
    # Four stages between epochs 2 and 8: 2, 4, 6, 8.
    assert opened_by(plan) == {"head": 0, "neck": 2, "stage2": 4, "stage1": 6, "stem": 8}
    assert [phase.start_epoch for phase in plan.phases] == [0, 2, 4, 6, 8]
    assert plan.phases[0].frozen > plan.phases[1].frozen > plan.phases[4].frozen
    assert plan.notes == tuple(
        f"after epoch {2 * n + 2}: open {s}" for n, s in enumerate(("neck", "stage2", "stage1", "stem"))
    )


def test_a_stage_that_the_source_does_not_fill_is_not_waited_for(plan_of):
    plan = plan_of(kind="imagenet", freeze_through="neck", gradual=GradualConfig(first=1, last=3))
    assert opened_by(plan) == {"head": 0, "neck": 0, "stage2": 1, "stage1": 2, "stem": 3}


def test_of_phases_that_begin_in_one_epoch_the_last_counts(plan_of):
    plan = plan_of(epochs=2, freeze_through="neck", gradual=GradualConfig(first=0.2, last=0.6))
    assert [phase.start_epoch for phase in plan.phases] == [0, 1]
    assert opened_by(plan) == {"head": 0, "neck": 0, "stage2": 0, "stage1": 0, "stem": 1}
    assert "no epoch is left to mine, open neck, open stage2: open stage1 begins" in plan.notes


@pytest.mark.parametrize(
    "strategy", [{"gradual": GradualConfig(first=0.2, last=0.8)}, {"phases": {"everything": PhaseConfig(start=0.5)}}]
)
def test_a_training_that_is_too_short_for_a_second_phase_is_refused(plan_of, strategy):
    """`lp_ft` would be `full` by another name."""
    with pytest.raises(UserError, match=r"strategy=mine with trainer\.max_epochs=1: .* would run.*strategy=full"):
        plan_of(epochs=1, freeze_through="neck", **strategy)
    assert len(plan_of(epochs=2, freeze_through="neck", **strategy).phases) == 2


def test_a_phase_is_in_force_until_the_next_and_frozen_is_what_never_moves(plan_of):
    later = {"half": PhaseConfig(start=3, freeze_through="stage1"), "all but the stem": PhaseConfig(6, "stem", 0.1)}
    plan = plan_of(freeze_through="neck", phases=later)
    assert [plan.phase_at(epoch).name for epoch in (0, 2, 3, 5, 6, 9)] == [
        "mine",
        "mine",
        *["half"] * 2,
        *["all but the stem"] * 2,
    ]
    assert {name for name in plan.frozen if name.endswith("weight")} == {
        "backbone.stem.conv.weight",
        "backbone.stem.bn.weight",
    }


def test_groups_warm_up_when_they_begin_and_a_phase_scales_every_rate(plan_of):
    plan = plan_of(epochs=4, freeze_through="neck", phases={"all": PhaseConfig(2, None, 0.5)})
    schedule = SchedulerConfig(name="x", decay=Decay.constant, warmup_fraction=0.25)
    factors = dict(zip([g.name for g in plan.groups], group_factors(plan, 16, 4, schedule), strict=True))
    # 4 steps an epoch: the run's warm-up has 4 steps, the phase's 2 of its 8, both from 0.1.
    head = [0.1, 0.325, 0.55, 0.775, 1, 1, 1, 1, *[0.5] * 8]
    assert [factors["head"](step) for step in range(16)] == pytest.approx(head)
    stem = [0.5 * 0.1, 0.5 * 0.55, *[0.5] * 6]
    assert [factors["stem"](step) for step in range(8, 16)] == pytest.approx(stem)


def test_phases_without_a_number_of_epochs_are_refused(plan_of):
    with pytest.raises(UserError, match=r"trainer\.max_epochs=null"):
        plan_of(epochs=None, freeze_through="neck", gradual=GradualConfig(first=0.2, last=0.8))


def test_gradual_with_phases_or_in_the_wrong_order_or_with_nothing_to_open_is_refused(plan_of):
    with pytest.raises(UserError, match="set one of the two"):
        plan_of(freeze_through="neck", gradual=GradualConfig(0.2, 0.8), phases={"a": PhaseConfig(start=1)})
    with pytest.raises(UserError, match=r"gradual\.last=0\.1 is before strategy\.gradual\.first=0\.5"):
        plan_of(freeze_through="neck", gradual=GradualConfig(0.5, 0.1))
    with pytest.raises(UserError, match=r"nothing to open.*freeze_through=None"):
        plan_of(gradual=GradualConfig(0.2, 0.8))


def test_thawed_kinds_train_in_frozen_stages(plan_of):
    norms = plan_of(freeze_through="neck", thaw=[Thaw.norm])
    names = {name for group in norms.groups for name in group.parameters if not name.startswith("head.")}
    assert names == {
        *(f"backbone.{stage}.bn.{part}" for stage in ("stem", "stage1", "stage2") for part in ("weight", "bias")),
        "neck.1.weight",
        "neck.1.bias",
    }
    assert "backbone.stem.bn.running_mean" in norms.frozen
    last = plan_of(freeze_through="head", thaw=[Thaw.predictors])
    assert {row.stage for row in last.stages if row.trainable} == {"head"}


def test_layer_decay_is_lr_times_d_to_the_distance_from_the_neck(plan_of):
    rates = {row.stage: row.lr for row in plan_of(lr_decay=0.8).stages}
    assert rates == pytest.approx({"stem": 0.512, "stage1": 0.64, "stage2": 0.8, "neck": 1.0, "head": 1.0})
    own = {row.stage: row.lr for row in plan_of(lr_decay=0.8, lr_factors={"stem": 0.01, "neck": 0.5}).stages}
    assert own == pytest.approx({"stem": 0.01, "stage1": 0.64, "stage2": 0.8, "neck": 0.5, "head": 1.0})
