"""Training moves what the plan says, validation moves nothing, and nothing random depends on the way there."""

import os
from itertools import product

import pytest
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import MixedPrecision

from headstart.config.schema import Decay, MonitorConfig, NormPolicy, SchedulerConfig, TrainingConfig
from headstart.data.sampling import stable_seed
from headstart.errors import UserError
from headstart.evaluation.reading import Reading
from headstart.training.callbacks import FrozenProof, checkpoints, optional_callbacks
from headstart.training.schedule import lr_factor
from headstart.transfer.proof import moved, tensor_digests

from .conftest import a_batch


def all_digests(module):
    return tensor_digests(module.detector, module.detector.state_dict())


def test_validation_leaves_every_tensor_as_it_was(make_module, make_trainer, batches):
    module = make_module(norm=NormPolicy.train)
    before = all_digests(module)
    make_trainer().validate(module, batches(3), verbose=False)
    assert moved(before, all_digests(module)) == []
    assert module.evaluation.images == 6


class ValidationKeepsStill(Callback):
    def on_validation_start(self, trainer, pl_module):
        self.before = all_digests(pl_module)

    def on_validation_end(self, trainer, pl_module):
        assert moved(self.before, all_digests(pl_module)) == []
        self.ran = True


def test_validation_between_epochs_leaves_every_tensor_as_it_was(make_module, make_trainer, batches):
    still = ValidationKeepsStill()
    make_trainer(callbacks=[still]).fit(make_module(norm=NormPolicy.train), batches(2), batches(2, first=5))
    assert still.ran


def test_statistics_move_when_the_model_is_validated_in_training_mode(make_module, batches):
    """The trap of others: a validation loss in training mode, even without gradients."""
    module = make_module(norm=NormPolicy.train)
    before = all_digests(module)
    module.train()
    with torch.no_grad():
        (batch,) = batches(1)
        module.detector.losses(batch)
    assert any("running_mean" in name for name in moved(before, all_digests(module)))


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_lightning_trains_what_the_plan_trains_and_nothing_else(make_module, make_trainer, batches, ema_decay):
    """With a moving average of the weights, too: an average of equal values must be the value, to the last bit."""
    module = make_module(freeze_through="stage1")
    before = all_digests(module)
    callbacks = optional_callbacks(TrainingConfig(ema_decay=ema_decay), MonitorConfig())
    make_trainer(callbacks=callbacks).fit(module, batches(3), batches(1, first=5))
    assert set(moved(before, all_digests(module))) == set(before) - module.plan.frozen
    assert module.plan.frozen


def test_the_proof_fails_when_a_frozen_tensor_moves(make_module, make_trainer, batches):
    module, proof = make_module(freeze_through="stage1"), FrozenProof()
    make_trainer(callbacks=[proof]).fit(module, batches(1), batches(1, first=5))
    proof.close(module.detector, module.plan)
    with torch.no_grad():
        module.detector.backbone.stem.bn.running_mean[0] += 1e-7
    with pytest.raises(AssertionError, match=r"1 frozen tensors moved .* backbone\.stem\.bn\.running_mean"):
        proof.close(module.detector, module.plan)


def test_modes_are_the_plans_after_every_switch_of_lightnings(make_module, make_trainer, batches):
    module = make_module(freeze_through="stage2")
    seen = []

    class Look(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            seen.append({name for name, part in pl_module.detector.named_modules() if not part.training})

    make_trainer(callbacks=[Look()]).fit(module, batches(2), batches(1, first=5))
    assert len(seen) == 4
    assert all(eval_modules == module.phase.eval_modules for eval_modules in seen)


def test_a_loss_that_is_not_finite_stops_with_values_and_remedy(make_module, make_trainer, batches):
    module = make_module()
    with torch.no_grad():
        module.detector.head.box.bias.fill_(float("inf"))
    with pytest.raises(
        UserError,
        match=r"epoch 1, batch 1 \(classification .*, box inf; step 1, learning rate 0.*optimizer.lr",
    ):
        make_trainer().fit(module, batches(1), batches(1))


def test_each_step_of_each_process_has_a_seed_of_its_own():
    seeds = {stable_seed(*parts) for parts in product(range(3), repeat=4)}
    assert len(seeds) == 81
    assert stable_seed(0, 1, 12, 3) != stable_seed(0, 11, 2, 3)


def test_randomness_depends_on_seed_epoch_and_batch_alone(make_module, make_trainer, batches):
    """Dropout in stage2 is random: the same weights come out, whatever was drawn before."""
    results = []
    for drawn_before, seed in ((0, 0), (1000, 0), (0, 1)):
        module = make_module(seed=seed)
        torch.rand(drawn_before)
        make_trainer().fit(module, batches(2), batches(1, first=5))
        results.append(all_digests(module))
    assert results[0] == results[1] != results[2]


def test_rates_follow_the_schedule_step_by_step(make_module, make_trainer, batches):
    scheduler = SchedulerConfig(name="c", decay=Decay.cosine, warmup_fraction=0.5, final_factor=0.0)
    module, rates = make_module(scheduler=scheduler, lr_factors={"stem": 0.1}), []

    class Look(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            rates.append({group["name"]: group["lr"] for group in optimizer.param_groups})

    make_trainer(callbacks=[Look()]).fit(module, batches(3), batches(1, first=5))
    assert [step["head"] for step in rates] == [1e-2 * lr_factor(step, 6, scheduler) for step in range(6)]
    assert [step["stem"] for step in rates] == pytest.approx([0.1 * step["head"] for step in rates])


def test_early_stopping_ends_when_the_monitor_stands_still(make_module, make_trainer, batches):
    """The tiny detector's boxes never change, so its mAP does not."""
    callbacks = optional_callbacks(TrainingConfig(early_stopping_patience=2), MonitorConfig())
    trainer = make_trainer(max_epochs=10, callbacks=callbacks)
    trainer.fit(make_module(freeze_through="neck"), batches(1), batches(1))
    assert trainer.current_epoch < 9


@pytest.fixture
def reductions(make_module, make_trainer, batches, monkeypatch):
    """`reductions(steps)`: what two epochs of so many steps reduce over the processes of DDP, here one."""
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "0")  # Lightning sets them, and does not take all of them away
        os.environ.pop(name)

    def count(steps):
        trainer, seen = make_trainer(strategy="ddp"), []
        reduce = trainer.strategy.reduce
        trainer.strategy.reduce = lambda *args, **kwargs: seen.append(args) or reduce(*args, **kwargs)
        trainer.fit(make_module(), batches(steps), batches(1, first=5))
        dist.destroy_process_group()
        return len(seen)

    return count


def test_losses_are_reduced_once_an_epoch_however_many_steps_it_has(reductions):
    """Of three losses in two epochs the value and the number of images; and Lightning reduces the loaders' lengths."""
    assert [reductions(steps) for steps in (1, 7)] == [2 * 3 * 2 + 3] * 2


def test_the_losses_of_an_epoch_are_means_over_its_images_and_a_step_is_logged_with_its_number(
    make_module, make_trainer, tmp_path
):
    """Batches of two images and of one; every second step is logged."""
    module, seen, logged = make_module(), [], []
    losses = module.detector.losses

    def kept(batch, features=None):
        found = losses(batch, features)
        seen.append((len(batch), {name: value.item() for name, value in found.items()}))
        return found

    class Log(CSVLogger):
        def log_metrics(self, metrics, step=None):
            logged.append((step, metrics))

    module.detector.losses = kept
    loader = torch.utils.data.DataLoader([a_batch(0), a_batch(1), a_batch(2, size=1)], batch_size=None)
    trainer = make_trainer(1, logger=Log(tmp_path), log_every_n_steps=2, limit_val_batches=0)
    trainer.fit(module, loader)
    for name in ("box", "classification"):
        expected = sum(images * found[name] for images, found in seen) / 5
        assert float(trainer.callback_metrics[f"train/{name}"]) == pytest.approx(expected, rel=1e-6)
    steps = [(step, metrics["train/loss_step"]) for step, metrics in logged if "train/loss_step" in metrics]
    assert steps == [(1, pytest.approx(sum(seen[1][1].values())))]


def test_boxes_keep_their_precision_in_a_network_of_half_precision(make_module, batches, make_trainer):
    module, seen = make_module(), []
    batch = next(iter(batches(1)))
    exact = torch.tensor([[100.3, 50.7, 201.9, 333.1]])
    batch.targets.boxes_xyxy[0] = exact
    losses = module.detector.losses

    def kept(batch, features=None):
        seen.append(batch.targets.boxes_xyxy[0])
        batch.images = batch.images.bfloat16()
        return losses(batch, features)

    module.detector.losses = kept
    make_trainer(1, precision="bf16-true", limit_val_batches=0).fit(
        module, torch.utils.data.DataLoader([batch], batch_size=None)
    )
    assert torch.equal(seen[0], exact)


def poisoned(module, call, how):
    """The `call`-th batch has a loss that is not finite, or one whose gradient is not."""
    losses, seen = module.detector.losses, []

    def poisoning(batch, features=None):
        found = losses(batch, features)
        seen.append(batch)
        if len(seen) == call:
            bias = module.detector.head.box.bias.sum()
            found["box"] = {
                "loss": lambda: found["box"] * float("nan"),
                "gradient": lambda: found["box"] + (bias * 0).sqrt(),
                "large gradient": lambda: found["box"] + 1e19 * (bias - bias.detach()),
            }[how]()
        return found

    module.detector.losses = poisoning
    module.name_of = lambda index: f"{index}.png"
    return module


class AfterUpdates(Callback):
    """Weights, averages and the optimizer's state as they are after each update."""

    def __init__(self):
        self.kept = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.kept.append(state_of(trainer, pl_module))


def state_of(trainer, module):
    optimizer = trainer.optimizers[0].state_dict()["state"]
    found = {f"w {name}": tensor for name, tensor in module.detector.named_parameters()}
    found |= {f"o {number} {name}": value for number, own in optimizer.items() for name, value in own.items()}
    for callback in trainer.callbacks:
        if average := getattr(callback, "_average_model", None):
            found |= {f"a {name}": tensor for name, tensor in average.named_parameters()}
    return {name: tensor.detach().clone() for name, tensor in found.items()}


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("how", ["loss", "gradient", "large gradient"])
def test_a_bad_step_leaves_weights_average_and_optimizer_as_they_were(
    make_module, make_trainer, batches, how, accumulate
):
    """Its fifth batch is bad, the pictures 8 and 9; with two batches an update it spoils that of the sixth, too."""
    module, kept = poisoned(make_module(), 5, how), AfterUpdates()
    average = optional_callbacks(TrainingConfig(ema_decay=0.9), MonitorConfig())
    trainer = make_trainer(callbacks=[kept, *average], accumulate_grad_batches=accumulate)
    batch = 5 if accumulate == 1 or how == "loss" else 6
    with pytest.raises(UserError) as raised:
        trainer.fit(module, batches(8), batches(1))
    what = "The loss is not finite" if how == "loss" else "The loss is finite, but not its gradient"
    text = str(raised.value)
    assert text.startswith(f"{what} in epoch 1, batch {batch} (classification ")
    assert f"step {5 if accumulate == 1 else 3}, learning rate 0.01" in text
    spoilt = "8.png, 9.png" + (", 10.png, 11.png" if batch == 6 else "")
    assert text.endswith(f"Its pictures: {spoilt}")
    before, after = kept.kept[-1], state_of(trainer, module)
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert any(name.startswith("a ") for name in before)
    assert any(name.startswith("o ") for name in before)


class Validated(Callback):
    def __init__(self):
        self.epochs = []

    def on_validation_start(self, trainer, pl_module):
        self.epochs.append(trainer.current_epoch)


@pytest.mark.parametrize(("how", "what"), [("loss", "loss is not finite"), ("gradient", "not its gradient")])
@pytest.mark.parametrize("call", [2, 3])
def test_a_loss_or_gradient_that_is_read_late_ends_the_run_before_anything_is_validated_or_kept(
    make_module, make_trainer, batches, monkeypatch, tmp_path, call, how, what
):
    """As on a GPU, which is not waited for: the second batch's is read at the third, the last one's at the end."""
    monkeypatch.setattr(Reading, "is_there", lambda self: False)
    validated, kept = Validated(), checkpoints(tmp_path, MonitorConfig())
    trainer = make_trainer(callbacks=[validated, kept], enable_checkpointing=True)
    with pytest.raises(UserError, match=rf"{what} in epoch 1, batch {call} .*\nIts pictures: {2 * call - 2}") as raised:
        trainer.fit(poisoned(make_module(), call, how), batches(3), batches(1))
    assert "No update was made" not in str(raised.value)
    assert trainer.global_step == call
    assert validated.epochs == []
    assert list(tmp_path.glob("*.ckpt")) == []


def test_in_16_mixed_the_scaler_skips_an_update_whose_gradient_is_not_finite(make_module, make_trainer, batches):
    """Lightning has it on GPUs alone, so here its parts are given."""
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    module = poisoned(make_module(), 2, "gradient")
    trainer = make_trainer(1, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    trainer.fit(module, batches(3), batches(1))
    assert all(parameter.isfinite().all() for parameter in module.detector.parameters())
    assert {int(state["step"]) for state in trainer.optimizers[0].state.values()} == {2}


def test_weights_that_are_not_finite_are_neither_validated_nor_kept(make_module, make_trainer, batches, tmp_path):
    """The only step of an epoch had a finite loss and a rate beyond all use."""
    module, validated = make_module(), Validated()
    for group in module.plan.groups:
        object.__setattr__(group, "lr", 1e30)
    with pytest.raises(
        UserError, match=r"The weights are not finite after epoch 1, which is not kept\. .*optimizer\.lr"
    ):
        make_trainer(callbacks=[validated, checkpoints(tmp_path, MonitorConfig())], enable_checkpointing=True).fit(
            module, batches(1), batches(1)
        )
    assert validated.epochs == []
    assert list(tmp_path.glob("*.ckpt")) == []
