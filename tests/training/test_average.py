"""The average of equal values is the value, its decay warms up, and a resumed run goes on with the same average."""

import math
from itertools import product

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from headstart.config.schema import MonitorConfig, NormPolicy, TrainingConfig
from headstart.training.average import decay_at, move
from headstart.training.callbacks import FrozenProof, optional_callbacks
from headstart.transfer.proof import tensor_digests

DECAYS = (0.5, 0.9, 0.99, 0.999, 0.9999)
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MANY = 10**6
"""Updates after which the warm-up is over."""


def bits(tensor):
    return tensor.contiguous().view(torch.uint8)


def averaging(decay):
    return optional_callbacks(TrainingConfig(ema_decay=decay), MonitorConfig())


@pytest.mark.parametrize(("decay", "dtype"), [*product(DECAYS, FLOATS)])
def test_equal_values_do_not_move_by_a_bit(decay, dtype):
    """Random ones, zeros of both signs, the least and the greatest."""
    limits = torch.finfo(dtype)
    special = torch.tensor(
        [0.0, -0.0, 1.0, limits.max, limits.min, limits.tiny, limits.smallest_normal / 4],
        dtype=torch.float64,
    )
    values = torch.cat([torch.randn(100_000).to(dtype), special.to(dtype)])
    average = values.clone()
    for updates in (1, 50, MANY):
        move([average], [values], updates, decay)
        assert torch.equal(bits(average), bits(values))


@pytest.mark.parametrize("decay", DECAYS)
def test_the_average_is_that_of_the_definition(decay):
    """d a + (1 - d) c, computed in float64."""
    averages, current = [torch.randn(100), torch.randn(3, 4)], [torch.randn(100), torch.randn(3, 4)]
    expected = [decay * a.double() + (1 - decay) * c.double() for a, c in zip(averages, current, strict=True)]
    move(averages, current, MANY, decay)
    for found, wanted in zip(averages, expected, strict=True):
        torch.testing.assert_close(found.double(), wanted, atol=1e-6, rtol=1e-6)


def test_counters_are_copied():
    average, current = torch.tensor([3, 5]), torch.tensor([4, 9])
    move([average], [current], 7, 0.999)
    assert average.tolist() == [4, 9]


def test_the_decay_grows_to_its_value():
    assert [decay_at(updates, 0.999) for updates in (0, 1, 8, 90)] == pytest.approx([0.1, 2 / 11, 0.5, 0.91])
    assert decay_at(MANY, 0.999) == 0.999
    assert decay_at(90, 0.9) == 0.9


def test_after_72_steps_the_average_has_forgotten_the_first():
    """Of the weights after the first step 0.999 ** 71, 93 %, would stay without the warm-up."""
    assert math.prod(decay_at(updates, 0.999) for updates in range(1, 72)) < 1e-9


@pytest.mark.parametrize("decay", DECAYS)
def test_frozen_tensors_stand_still_whatever_the_decay(make_module, make_trainer, batches, decay):
    """With frozen statistics, frozen weights and a weight of -0.0; the proof compares all bits."""
    module, proof = make_module(freeze_through="stage2", norm=NormPolicy.frozen), FrozenProof()
    with torch.no_grad():
        module.detector.backbone.stem.conv.weight[0] = -0.0
    trainer = make_trainer(max_epochs=3, callbacks=[proof, *averaging(decay)])
    trainer.fit(module, batches(5), batches(1, first=5))
    proof.close(module.detector, module.plan)
    assert len(module.plan.frozen) > 10


class Look(Callback):
    """The weights after each step, and those validated."""

    def __init__(self):
        self.weights, self.validated = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.weights.append(pl_module.detector.head.cls.bias.detach().clone())

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.validated.append(pl_module.detector.head.cls.bias.detach().clone())


@pytest.mark.parametrize("decay", [0.15, 0.999])
def test_what_is_validated_is_the_average_followed_by_hand(make_module, make_trainer, batches, decay):
    """a(1) = w(1), then a(t + 1) = d a(t) + (1 - d) w(t + 1) with d = min(decay, (1 + t) / (10 + t))."""
    look = Look()
    callbacks = [*averaging(decay), look]
    make_trainer(max_epochs=2, callbacks=callbacks).fit(make_module(), batches(3), batches(1, first=5))
    average, expected = look.weights[0].double(), []
    for step, weight in enumerate(look.weights[1:], start=1):
        kept = min(decay, (1 + step) / (10 + step))
        average = kept * average + (1 - kept) * weight.double()
        if step in (2, 5):
            expected.append(average.float())
    torch.testing.assert_close(look.validated, expected)
    assert not torch.equal(expected[-1], look.weights[-1])


@pytest.mark.parametrize("precision", ["32-true", "bf16-true", "64-true"])
def test_the_average_has_the_type_of_the_weights(make_module, make_trainer, batches, precision):
    module, callbacks = make_module(), averaging(0.999)
    trainer = make_trainer(max_epochs=2, callbacks=callbacks, precision=precision)
    trainer.fit(module, batches(3), batches(1, first=5))
    (average,) = callbacks
    found = {name: tensor.dtype for name, tensor in average._average_model.module.state_dict().items()}
    assert found == {name: tensor.dtype for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize(
    ("precision", "decay"), [("32-true", 0.999), ("bf16-true", 0.999), ("64-true", 0.999), ("64-true", None)]
)
def test_a_resumed_run_has_the_weights_of_an_undisturbed_one(
    make_module, make_trainer, batches, tmp_path, precision, decay
):
    """Within the warm-up of the decay, which a run that began to count anew would not leave."""

    class SaveHalf(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                trainer.save_checkpoint(tmp_path / "half.ckpt")

    def fit(callbacks, ckpt_path=None):
        module = make_module(norm=NormPolicy.train)
        trainer = make_trainer(max_epochs=4, callbacks=[*averaging(decay), *callbacks], precision=precision)
        trainer.fit(module, batches(3), batches(1, first=5), ckpt_path=ckpt_path, weights_only=True)
        return tensor_digests(module.detector, module.detector.state_dict())

    undisturbed = fit([SaveHalf()])
    assert fit([], tmp_path / "half.ckpt") == undisturbed
