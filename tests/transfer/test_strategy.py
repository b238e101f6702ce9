"""A strategy is obeyed to the letter, or refused with the setting's name."""

import pytest

from headstart.config.schema import AdamWConfig, NormPolicy, StrategyConfig
from headstart.errors import UserError
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.strategy import make_plan
from headstart.transfer.types import SourceWeights

SCRATCH = SourceWeights("scratch", {}, ())
ADAMW = AdamWConfig(name="adamw", weight_decay=0.1)


def plan_for(detector, weights, optimizer: object = ADAMW, **strategy):
    strategy.setdefault("lr", {"adamw": 1e-2})
    return make_plan(StrategyConfig(name="mine", **strategy), optimizer, detector, apply_source(detector, weights))


def sizes(detector, stage):
    return sum(p.numel() for name, p in detector.named_parameters() if f".{stage}." in f".{name}")


def test_rows_count_parameters_per_stage_and_give_rates(tiny, weights_of):
    detector = tiny()
    plan = plan_for(detector, weights_of(tiny(seed=1)), freeze_through="stage1", lr_factors={"stage2": 0.1})
    rows = {row.stage: row for row in plan.stages}
    assert [row.stage for row in plan.stages] == ["stem", "stage1", "stage2", "neck", "head"]
    # stem: conv 3*4*9 and BatchNorm 2*4; stage2: 6*8*9 and 2*8; neck: conv 8*8+8 and GroupNorm 2*8
    assert [rows[stage].parameters for stage in ("stem", "stage2", "neck")] == [116, 448, 88]
    assert [row.trainable for row in plan.stages] == [0, 0, 448, 88, sizes(detector, "head")]
    assert [row.lr for row in plan.stages] == [None, None, pytest.approx(1e-3), 1e-2, 1e-2]
    assert [row.norm for row in plan.stages] == ["frozen", "frozen", "affine_only", "train", "-"]
    assert plan.trained_parameters == 448 + 88 + sizes(detector, "head")


@pytest.mark.parametrize(("norm", "shown"), [("frozen", "frozen"), ("affine_only", "affine_only"), ("train", "train")])
def test_the_norm_policy_shows_in_the_rows(tiny, weights_of, norm, shown):
    plan = plan_for(tiny(), weights_of(tiny(seed=1)), norm=NormPolicy[norm])
    assert plan.stages[0].norm == shown


def test_an_imagenet_source_leaves_the_neck_training_and_says_so(tiny, weights_of):
    plan = plan_for(tiny(), weights_of(tiny(seed=1), "imagenet"), freeze_through="neck")
    assert {row.stage: row.trainable > 0 for row in plan.stages} == {
        "stem": False,
        "stage1": False,
        "stage2": False,
        "neck": True,
        "head": True,
    }
    assert plan.notes == ("neck trains although freeze_through=neck: imagenet fills none of it",)


def test_a_stage_filled_in_part_is_frozen_in_part_and_says_so(tiny, weights_of):
    plan = plan_for(tiny(("a", "new")), weights_of(tiny(seed=1)), freeze_through="head")
    assert plan.notes == (
        "2 of 4 tensors of head train although freeze_through=head: checkpoint fills only the others",
    )
    assert [name for group in plan.groups for name in group.parameters] == ["head.cls.weight", "head.cls.bias"]


def test_scratch_says_that_batchnorm_trains(tiny):
    (note,) = plan_for(tiny(), SCRATCH).notes
    assert note == "BatchNorm trains its statistics in stem, stage1, stage2 although norm=affine_only: scratch has none"


def test_scratch_with_a_freezing_strategy_is_refused_naming_both(tiny):
    with pytest.raises(UserError, match=r"source=scratch and strategy=mine .*freeze_through=stem"):
        plan_for(tiny(), SCRATCH, freeze_through="stem")


def test_freeze_through_without_such_a_stage_is_refused_with_the_stages(tiny, weights_of):
    with pytest.raises(UserError, match=r"freeze_through=layer1 .* stem, stage1, stage2, neck, head"):
        plan_for(tiny(), weights_of(tiny()), freeze_through="layer1")


def test_freezing_everything_is_refused_with_the_stages(tiny, weights_of):
    with pytest.raises(UserError, match=r"freeze_through=head leaves nothing .* stem, stage1, stage2, neck, head"):
        plan_for(tiny(), weights_of(tiny()), freeze_through="head")


def test_a_rate_for_no_stage_is_refused_with_the_stages(tiny):
    with pytest.raises(UserError, match=r"lr_factors\.backbone names no stage .* stem, stage1, stage2, neck, head"):
        plan_for(tiny(), SCRATCH, lr_factors={"backbone": 0.1})


def test_a_rate_for_a_frozen_stage_is_refused(tiny, weights_of):
    with pytest.raises(UserError, match=r"lr_factors\.stem has no effect: strategy\.freeze_through=stage1"):
        plan_for(tiny(), weights_of(tiny()), freeze_through="stage1", lr_factors={"stem": 0.1})


@pytest.mark.parametrize("factor", [0.0, -1.0])
def test_a_rate_that_trains_nothing_is_refused(tiny, factor):
    with pytest.raises(UserError, match=r"lr_factors\.stem=.*freeze_through"):
        plan_for(tiny(), SCRATCH, lr_factors={"stem": factor})


def test_the_optimizer_rate_goes_before_the_presets(tiny):
    optimizer = AdamWConfig(name="adamw", lr=0.5, weight_decay=0.1)
    assert {row.lr for row in plan_for(tiny(), SCRATCH, optimizer).stages} == {0.5}


def test_an_optimizer_without_preset_needs_a_rate(tiny):
    lion = {"name": "lion", "weight_decay": 0.0}
    with pytest.raises(UserError, match=r"strategy=mine .* optimizer=lion .*adamw.*: set optimizer\.lr"):
        plan_for(tiny(), SCRATCH, lion)
    assert plan_for(tiny(), SCRATCH, {**lion, "lr": 0.2}).stages[0].lr == 0.2


def test_an_optimizer_without_weight_decay_is_refused(tiny):
    with pytest.raises(UserError, match=r"optimizer\.weight_decay"):
        plan_for(tiny(), SCRATCH, {"name": "lion", "lr": 0.1})


def test_batch_statistics_are_not_trained_with_epsilon_zero(tiny, weights_of):
    weights = weights_of(tiny(seed=1), norm_eps=0.0)
    with pytest.raises(UserError, match=r"strategy\.norm=train .*epsilon 0"):
        plan_for(tiny(), weights, norm=NormPolicy.train)
    assert plan_for(tiny(), weights).trained_parameters
