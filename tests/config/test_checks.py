"""Each refusal: the setting, its value and what would work are in the message; the neighbour's value is let through."""

from collections.abc import Callable
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from headstart.config.checks import check
from headstart.config.resolve import resolve
from headstart.errors import UserError

Compose = Callable[..., DictConfig]

REFUSED = {
    "dataset.fraction=0": "above 0",
    "dataset.fraction=1.5": "at most 1",
    "dataset.shots=0": "1 or more",
    "dataset.shots=5 dataset.fraction=0.5": "set one of the two",
    "dataset.batch_size=0": "1 or more",
    "dataset=kangaroo dataset.test_fraction=1": "below 1",
    "dataset=kangaroo dataset.test_fraction=-0.1": "0 (none is drawn)",
    "dataset=kangaroo dataset.on.emty_box=keep": "Did you mean 'empty_box'? Kinds: ",
    "dataset=kangaroo dataset.on.empty_box=clip": "must be skip_box or skip_image or error",
    "dataset=kangaroo dataset.on.split_overlap=error": "set with dataset.overlap=",
    "dataset.num_workers=-1": "0 or more",
    "dataset.min_size=16": "32 pixels",
    "dataset.min_size=240 dataset.max_size=320 dataset.resize=stretch": "squares. Set both",
    "dataset.min_size=400": "longer than the long side",
    "source.kind=scratch strategy.freeze_through=stem": "strategy=full",
    "strategy.freeze_through=null source.kind=scratch strategy.interpolate=[0.5]": "strategy=full",
    "source.kind=scratch strategy.norm=recalibrate": "strategy=full",
    "dataset.shots=10 strategy.few_shot=true": "source=checkpoint",
    "source.kind=checkpoint strategy.few_shot=true": "dataset.shots=10",
    "strategy.cosine_scale=0": "above 0",
    "model=faster_rcnn model.neck=pan backbone=mobilenet_v3_large": "two maps of stride 32",
    "augment.hflip=1.1": "probability",
    "postprocess.iou_threshold=1.5": "must be 0 to 1",
    "postprocess.score_threshold=-0.1": "must be 0 to 1",
    "postprocess.max_detections=0": "must be 1 or more",
    "postprocess.sigma=0": "must be a number above 0",
    "postprocess.across=none": "once for every view",
    "postprocess.scales=[0.5,8]": "must each be 0.25 to 4",
    "postprocess.scales=[0.5,0.5]": "there twice",
    "postprocess.flips=[vertical,vertical]": "there twice",
    "augment.vflip=-0.1": "probability",
    "augment.crop=2": "probability",
    "augment.brightness=1.5": "0 to 1",
    "augment.contrast=-1": "0 to 1",
    "augment.saturation=2": "0 to 1",
    "augment.hue=0.6": "0 to 0.5",
    "augment.scale_min=0": "above 0",
    "augment.scale_min=2": "at most scale_max",
    "augment.scales=[0]": "above 0",
    "augment.scales=[0.5,0.5]": "there twice",
    "augment.scale_min=0.5 augment.scales=[0.75]": "or a range",
    "optimizer.lr=0": "above 0",
    "scheduler.warmup_fraction=1": "below 1",
    "scheduler.final_factor=1.1": "between 0 and 1",
    "training.ema_decay=1": "0.999 is usual",
    "training.ema_decay=0.99 trainer.precision=bf16-true": "precision=bf16-mixed",
    "training.early_stopping_patience=0": "null for never",
    "monitor.mode=maximum": "max or min",
    "monitor.name=test/map": "monitor.name=val/map",
    "evaluation.max_detections=0": "1 or more",
    "trainer.precision=bf16": "bf16-mixed",
    "model.architecture=faster_rcnn trainer.precision=bf16-true": "precision=bf16-mixed",
    "model.architecture=faster_rcnn trainer.precision=16-true": "precision=16-mixed",
    "trainer.max_epochs=-1": "1 or more",
    "trainer.max_epochs=null": "trainer.max_steps",
    "trainer.use_distributed_sampler=true": "sampler",
    "trainer.enable_checkpointing=false": "checkpoints",
    "trainer.barebones=true": "callbacks",
    "trainer.limit_val_batches=0": "no mAP",
    "trainer.limit_val_batches=0.0": "no mAP",
    "trainer.limit_val_batches=false": "no mAP",
    "trainer.limit_train_batches=0": "no training",
    "trainer.limit_train_batches=0.0": "no training",
    "trainer.limit_test_batches=0": "no test",
    "trainer.max_epochs=3 trainer.max_steps=0": "-1 for no limit",
    "trainer.max_epochs=3 trainer.max_steps=-2": "-1 for no limit",
    "trainer.max_time=00:01:00:00": "max_epochs or trainer.max_steps",
    "trainer.min_epochs=2": "training.early_stopping_patience",
    "trainer.min_steps=2": "training.early_stopping_patience",
    "trainer.val_check_interval=0.5": "limit_train_batches",
    "trainer.val_check_interval=1": "limit_train_batches",
    "trainer.check_val_every_n_epoch=null": "1 or more",
    "trainer.check_val_every_n_epoch=0": "1 or more",
    "trainer.max_epochs=3 trainer.check_val_every_n_epoch=4": "at most trainer.max_epochs=3",
}

ALLOWED = [
    "dataset.fraction=1.0",
    "dataset.fraction=0.01",
    "dataset=kangaroo dataset.test_fraction=0.2",
    "dataset.shots=1",
    "dataset.num_workers=0",
    "dataset.min_size=32 dataset.max_size=32",
    "dataset.min_size=300 dataset.max_size=300 dataset.resize=stretch",
    "augment.hflip=1 augment.hue=0.5 augment.scale_min=0.5 augment.scale_max=0.5",
    "augment.hflip=1 augment.scales=[1.0,0.5,2.0]",
    "postprocess.method=soft_nms postprocess.flips=[horizontal,vertical] postprocess.scales=[0.25,4]",
    "source.kind=scratch",
    "trainer.precision=bf16-true",
    "trainer.precision=bf16-mixed model.architecture=faster_rcnn",
    "scheduler.warmup_fraction=0 scheduler.final_factor=0",
    "training.ema_decay=0.999 training.early_stopping_patience=1",
    "trainer.precision=64-true",
    "trainer.max_epochs=null trainer.max_steps=10",
    "trainer.max_epochs=0",
    "trainer.max_epochs=1 trainer.limit_val_batches=1",
    "trainer.limit_val_batches=1.0 trainer.limit_train_batches=1 trainer.limit_test_batches=0.5",
    "trainer.max_epochs=3 trainer.max_steps=10 trainer.check_val_every_n_epoch=3 trainer.val_check_interval=1.0",
    "trainer.min_epochs=2 training.early_stopping_patience=2",
    "monitor.mode=min monitor.name=val/loss",
]


def changed(compose: Compose, settings: str) -> Any:
    choices = [word for word in settings.split() if "." not in word.split("=")[0]]
    cfg = compose(*choices)
    for setting in (word for word in settings.split() if word not in choices):
        key, value = setting.split("=")
        OmegaConf.update(cfg, key, OmegaConf.create({"v": None}).v if value == "null" else parsed(value))
    return OmegaConf.to_object(cfg)


def parsed(value: str) -> Any:
    return OmegaConf.from_dotlist([f"v={value}"]).v


@pytest.mark.parametrize("settings", REFUSED)
def test_refused(settings: str, compose: Compose) -> None:
    config = changed(compose, settings)
    with pytest.raises(UserError) as raised:
        check(config)
    key, value = settings.split()[-1].split("=")
    text = str(raised.value)
    assert key in text
    assert (value in text) or key.startswith("source")
    assert REFUSED[settings] in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("settings", ALLOWED)
def test_let_through(settings: str, compose: Compose) -> None:
    check(changed(compose, settings))


@pytest.mark.parametrize("strategy", ["lp_ft", "gradual_unfreeze"])
def test_phases_are_counted_in_epochs_and_not_cut_by_steps(strategy: str, compose: Compose) -> None:
    with pytest.raises(
        UserError, match=rf"trainer\.max_steps=9 does not go with strategy={strategy}.*max_epochs alone"
    ):
        check(changed(compose, f"strategy={strategy} trainer.max_steps=9"))
    check(changed(compose, f"strategy={strategy} trainer.max_steps=-1"))


def test_everything_wrong_is_told_at_once(compose: Compose) -> None:
    with pytest.raises(UserError) as raised:
        check(changed(compose, "dataset.fraction=2 augment.hue=1 trainer.precision=8"))
    assert len(str(raised.value).splitlines()) == 3


def test_a_missing_setting_is_told_with_the_words_to_type(compose: Compose) -> None:
    with pytest.raises(UserError, match=r"source\.path=…"):
        resolve(compose("source=checkpoint"))
