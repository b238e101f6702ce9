"""How long a run trains, and when it is validated."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.config.schema import RunConfig


def length_problems(config: RunConfig) -> Iterator[str]:
    """What shortens the training or its validation to nothing, and what makes no promise of where it ends."""
    trainer, strategy = config.trainer, config.strategy
    if trainer.max_epochs is not None and trainer.max_epochs < 0:
        yield (
            f"trainer.max_epochs={trainer.max_epochs} must be 1 or more: the learning rate needs to know the end; or "
            "0, which trains nothing and measures the source as it is."
        )
    if trainer.max_epochs is None and trainer.max_steps < 1:
        yield "trainer.max_epochs=null needs trainer.max_steps: the learning rate needs to know the end."
    elif trainer.max_steps != -1 and trainer.max_steps < 1:
        yield f"trainer.max_steps={trainer.max_steps} must be 1 or more, or -1 for no limit."
    if trainer.max_steps != -1 and (strategy.phases or strategy.gradual is not None):
        yield (
            f"trainer.max_steps={trainer.max_steps} does not go with strategy={strategy.name}, whose phases are "
            "counted in epochs: set trainer.max_epochs alone."
        )
    if trainer.max_time is not None:
        yield (
            f"trainer.max_time={trainer.max_time} cannot be used: the learning rate needs to know the end, and the "
            "result would depend on the machine's load. Use trainer.max_epochs or trainer.max_steps."
        )
    if config.training.early_stopping_patience is None:
        for name in ("min_epochs", "min_steps"):
            if (value := getattr(trainer, name)) is not None:
                yield (
                    f"trainer.{name}={value} has an effect on early stopping alone: set "
                    "training.early_stopping_patience, or leave it out."
                )
    yield from _validations(config)


def _validations(config: RunConfig) -> Iterator[str]:
    trainer = config.trainer
    for name, what in (("train", "training"), ("val", "validation, no mAP"), ("test", "test; leave it out")):
        value = getattr(trainer, f"limit_{name}_batches")
        if value is not None and value == 0:
            yield f"trainer.limit_{name}_batches={str(value).lower()} cannot be used: no {what}."
    interval, every = trainer.val_check_interval, trainer.check_val_every_n_epoch
    if interval is not None and not (isinstance(interval, float) and interval == 1):
        yield (
            f"trainer.val_check_interval={interval} cannot be used: the best weights are those of an epoch, which is "
            "validated at its end. trainer.limit_train_batches makes epochs shorter."
        )
    if every is None or every < 1:
        yield f"trainer.check_val_every_n_epoch={'null' if every is None else every} must be 1 or more."
    elif trainer.max_epochs is not None and 1 <= trainer.max_epochs < every:
        yield (
            f"trainer.check_val_every_n_epoch={every} must be at most trainer.max_epochs={trainer.max_epochs}: "
            "no validation, no mAP."
        )
