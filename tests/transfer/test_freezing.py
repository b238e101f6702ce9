"""Frozen means bit-equal, in what trains and in what it computes."""

import pytest
import torch

from headstart.config.schema import AdamWConfig, NormPolicy, StrategyConfig
from headstart.data.batch import Batch
from headstart.transfer.freezing import apply_phase, set_train_mode
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.proof import digest, moved, tensor_digests
from headstart.transfer.strategy import make_plan
from headstart.transfer.types import SourceWeights

ADAMW = AdamWConfig(name="adamw", weight_decay=0.1)


def plan_for(detector, weights, **strategy):
    report = apply_source(detector, weights)
    config = StrategyConfig(name="test", lr={"adamw": 1e-2}, **strategy)
    return make_plan(config, ADAMW, detector, report)


@pytest.mark.parametrize("norm", list(NormPolicy))
@pytest.mark.parametrize("freeze_through", [None, "stem", "stage2", "neck"])
@pytest.mark.parametrize("kind", ["checkpoint", "imagenet"])
def test_frozen_tensors_are_bit_equal_after_ten_steps_and_all_others_moved(
    tiny, weights_of, train, kind, freeze_through, norm
):
    detector = tiny(("a", "c"))
    plan = plan_for(detector, weights_of(tiny(seed=1), kind), freeze_through=freeze_through, norm=norm)
    before = tensor_digests(detector, detector.state_dict())
    proof = digest(detector, plan.frozen)
    train(detector, plan)
    changed = set(moved(before, tensor_digests(detector, detector.state_dict())))
    assert changed == set(before) - plan.frozen
    assert digest(detector, plan.frozen) == proof


@pytest.mark.parametrize("freeze_through", ["stem", "stage2"])
def test_a_frozen_stage_computes_in_training_what_it_computes_in_evaluation(tiny, weights_of, batch, freeze_through):
    detector = tiny()
    plan = plan_for(detector, weights_of(tiny(seed=1)), freeze_through=freeze_through)
    apply_phase(detector, plan.phases[0])
    outputs = []
    stage = detector.get_submodule(f"backbone.{freeze_through}")
    stage.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    set_train_mode(detector, plan.phases[0])
    detector.features(Batch.of(*batch))
    detector.eval()
    detector.features(Batch.of(*batch))
    assert torch.equal(*outputs)


def test_dropout_stays_on_in_stages_that_train(tiny, weights_of):
    detector = tiny()
    plan = plan_for(detector, weights_of(tiny(seed=1)), freeze_through="stage1")
    set_train_mode(detector, plan.phases[0])
    assert detector.backbone.stage2.drop.training
    assert not detector.backbone.stage1.drop.training


def test_dropout_stays_on_in_a_frozen_stage_that_the_source_did_not_fill(tiny, weights_of):
    detector = tiny(neck_dropout=0.5)
    plan = plan_for(detector, weights_of(tiny(seed=1), "imagenet"), freeze_through="neck")
    set_train_mode(detector, plan.phases[0])
    assert detector.neck[2].training
    assert not detector.backbone.stage2.drop.training


def test_freezing_parameters_alone_moves_batchnorm_and_the_plan_does_not(tiny, weights_of, batch):
    detector = tiny()
    plan = plan_for(detector, weights_of(tiny(seed=1)), freeze_through="stage2")
    buffers = [name for name, _ in detector.named_buffers()]
    before = tensor_digests(detector, buffers)
    detector.requires_grad_(False).train()
    detector.features(Batch.of(*batch))
    assert moved(before, tensor_digests(detector, buffers)) == sorted(buffers)  # the trap

    before = tensor_digests(detector, buffers)
    set_train_mode(detector, plan.phases[0])
    detector.features(Batch.of(*batch))
    assert moved(before, tensor_digests(detector, buffers)) == []


def test_scratch_trains_every_parameter_and_every_statistic(tiny, train):
    detector = tiny()
    plan = plan_for(detector, SourceWeights("scratch", {}, ()))
    before = tensor_digests(detector, detector.state_dict())
    train(detector, plan)
    assert plan.frozen == plan.phases[0].eval_modules == frozenset()
    assert moved(before, tensor_digests(detector, before)) == sorted(before)


def test_statistics_that_the_source_fills_in_part_all_train(tiny, weights_of):
    detector = tiny()
    weights = weights_of(tiny(seed=1), "imagenet")
    lacking = {name: tensor for name, tensor in weights.tensors.items() if name != "backbone.stem.bn.running_var"}
    plan = plan_for(detector, SourceWeights("imagenet", lacking, tuple(lacking)), freeze_through="stage1")
    assert "backbone.stem.bn.running_mean" not in plan.frozen
    assert "backbone.stem.bn" not in plan.phases[0].eval_modules
    assert "backbone.stage1.bn" in plan.phases[0].eval_modules


def test_frozen_policy_freezes_affine_of_groupnorm_and_batchnorm_outside_frozen_stages(tiny, weights_of):
    plan = plan_for(tiny(), weights_of(tiny(seed=1)), norm=NormPolicy.frozen)
    assert {"neck.1.weight", "neck.1.bias", "backbone.stage2.bn.weight"} <= plan.frozen
    assert "neck.0.weight" not in plan.frozen


def test_a_digest_sees_one_bit_and_not_the_memory_layout():
    layer = torch.nn.Conv2d(3, 4, 3)
    before = tensor_digests(layer, ["weight", "bias"])
    layer.to(memory_format=torch.channels_last)
    assert tensor_digests(layer, before) == before
    with torch.no_grad():
        layer.get_parameter("bias")[1].nextafter_(torch.tensor(9.0))
    assert moved(before, tensor_digests(layer, before)) == ["bias"]
