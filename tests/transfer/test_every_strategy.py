"""The audit: every shipped strategy on every shipped model does what its plan says, and nothing else."""

from pathlib import Path

import lightning as L
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import Callback

from headstart.config.compose import compose
from headstart.data import catalog
from headstart.data.datamodule import DetectionDataModule
from headstart.data.info import describe
from headstart.detectors.factory import build_detector
from headstart.parts.adapters import merge_adapters
from headstart.parts.table import parts_of
from headstart.run import equip
from headstart.transfer.class_rows import BACKGROUND
from headstart.transfer.proof import moved, tensor_digests
from headstart.transfer.types import SourceWeights

CONF = Path(__file__).resolve().parents[2] / "conf"
OWN_BACKBONE = {"ssd_tf": ("backbone=mobilenetv2_100",)}
"""Of models that are defined on one network."""
MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
STRATEGIES = sorted(path.stem for path in (CONF / "strategy").glob("*.yaml"))
BASE_CLASSES = ("square", "star", "circle")  # the target: circle, triangle, star, pentagon, crescent
STEPS = 5
"""A second phase has three: in a single one SSD may choose no place of its coarse maps, and what makes them rests."""
SETTINGS = (
    "source=checkpoint",
    "source.path=unused",
    "dataset.num_train=4",
    "dataset.num_val=1",
    "dataset.min_size=96",
    "dataset.max_size=128",
    "dataset.batch_size=2",
    "augment=none",
    "logger=csv",
    f"trainer.max_epochs={STEPS}",
    "trainer.limit_train_batches=1",
    "trainer.limit_val_batches=1",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "scheduler.warmup_fraction=0",
)
FACTORS = {
    "layer_decay": {
        "stem": 0.262144,
        "stage1": 0.32768,
        "stage2": 0.4096,
        "stage3": 0.512,
        "stage4": 0.64,
        "stage5": 0.8,
    },
    "discriminative_lr": {
        "stem": 0.003256599688890625,
        "stage1": 0.008458700490625,
        "stage2": 0.021970650625,
        "stage3": 0.057066625,
        "stage4": 0.148225,
        "stage5": 0.385,
    },
}
"""On EfficientNet-Lite0, by hand: 0.8 ** (5 + 1 - i) and 0.385 ** (5 + 1 - i)."""


def a_source(config, class_names):
    """A detector of other classes, every tensor away from its initial value."""
    torch.manual_seed(1)
    detector = build_detector(config.model, config.backbone, class_names)
    with torch.no_grad():
        for tensor in detector.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1 + 0.05 * torch.rand_like(tensor))
    background = any(axis.background for axis in detector.class_axes())
    rows = ((BACKGROUND,) if background else ()) + class_names
    return SourceWeights("checkpoint", detector.state_dict(), ("",), row_names=rows, lineage=("shapes",))


class Gradients(Callback):
    """Parameters that had a gradient, and those of which it was never anything but zero."""

    def __init__(self):
        self.had, self.nonzero = set(), set()

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        found = {name: p.grad for name, p in pl_module.detector.named_parameters() if p.grad is not None}
        self.had |= set(found)
        self.nonzero |= {name for name, gradient in found.items() if gradient.any()}

    @property
    def zero(self):
        return self.had - self.nonzero


def pairs():
    """All of them in the slow run; in the usual one each strategy on one model, every model in turn."""
    for number, strategy in enumerate(STRATEGIES):
        for model in MODELS:
            usual = model == MODELS[number % len(MODELS)]
            yield pytest.param((model, strategy), marks=[] if usual else pytest.mark.slow, id=f"{model}-{strategy}")


@pytest.fixture(scope="module", params=pairs())
def trained(request, tmp_path_factory):
    """Model, strategy, experiment, digests before, digests after, optimizer, gradients."""
    model, strategy = request.param
    shots = ["dataset.shots=1"] if strategy == "tfa" else []
    config = compose([f"model={model}", *OWN_BACKBONE.get(model, ()), f"strategy={strategy}", *SETTINGS, *shots])
    L.seed_everything(0, verbose=False)
    data = catalog.read(config.dataset, 0)
    info = describe(data, config.dataset)
    detector = build_detector(config.model, config.backbone, info.class_names)
    parts = parts_of(config)
    for part in parts:
        part.shape(detector)
    datamodule = DetectionDataModule(data, info, config.dataset, config.augment, 0)
    experiment = equip(config, datamodule, detector, a_source(config, BASE_CLASSES), parts)
    before = tensor_digests(detector, detector.state_dict())
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=STEPS,
        limit_train_batches=1,
        limit_val_batches=0,
        enable_checkpointing=False,
        gradient_clip_val=config.trainer.gradient_clip_val,
        default_root_dir=tmp_path_factory.mktemp("audit"),
        callbacks=[gradients := Gradients()],
        **quiet,
    )
    trainer.fit(experiment.module, datamodule=datamodule)
    after = tensor_digests(detector, detector.state_dict())
    return model, strategy, experiment, before, after, trainer.optimizers[0], gradients


def test_what_is_frozen_is_bit_equal_and_all_else_moved(trained):
    model, strategy, experiment, before, after, _, gradients = trained
    detector, frozen = experiment.detector, experiment.plan.frozen
    still = set(before) - set(moved(before, after))
    assert frozen <= still
    parameters = {name for name, _ in detector.named_parameters()}
    # SSD's loss leaves most places out, and so does YOLO's of boxes: of a map without any, biases have a gradient of 0,
    # and no weight decay.
    resting = gradients.zero if model.startswith(("ssd", "yolo")) else set()
    assert (still & parameters) - resting == frozen & parameters, strategy
    # An adapter's A has a gradient only after B has moved, which needs a place in the step before.
    assert not [name for name in resting if name.startswith("backbone.body.") and not name.endswith(".0.A")]
    statistics = {name for name in before if name.endswith("running_var")}
    assert still & statistics == frozen & statistics


def test_each_parameter_is_in_one_group_at_the_rate_of_the_file(trained):
    _, strategy, experiment, _, _, optimizer, _ = trained
    lr = yaml.safe_load((CONF / "strategy" / f"{strategy}.yaml").read_text())["lr"]["adamw"]
    factors = FACTORS.get(strategy, {})
    grouped = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    trains = [p for name, p in experiment.detector.named_parameters() if name not in experiment.plan.frozen]
    assert sorted(map(id, grouped)) == sorted(map(id, trains))
    for group in optimizer.param_groups:
        assert group["initial_lr"] == pytest.approx(float(lr) * factors.get(group["name"].split("/")[0], 1.0))


def test_the_table_is_what_the_optimizer_holds(trained):
    _, _, experiment, _, _, optimizer, _ = trained
    for row in experiment.plan.stages:
        groups = [group for group in optimizer.param_groups if group["name"].split("/")[0] == row.stage]
        assert row.trainable == sum(parameter.numel() for group in groups for parameter in group["params"])
        assert {group["initial_lr"] for group in groups} == ({row.lr} if row.lr is not None else set())


def test_the_result_has_the_plain_architecture(trained):
    model, _, experiment, *_ = trained
    merge_adapters(experiment.detector)
    config = compose([f"model={model}", *OWN_BACKBONE.get(model, ()), "source=scratch"])
    plain = build_detector(config.model, config.backbone, experiment.info.class_names)
    shapes = {name: tensor.shape for name, tensor in plain.state_dict().items()}
    assert {name: tensor.shape for name, tensor in experiment.detector.state_dict().items()} == shapes
