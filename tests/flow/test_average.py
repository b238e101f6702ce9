"""Runs whose weights are averaged end, with what is frozen where it was and a model that has learned."""

import pytest

from headstart.records.record import RunRecord

EMA = ("training.ema_decay=0.99", "trainer.max_epochs=1", "dataset.num_train=8", "dataset.num_val=2")


@pytest.mark.parametrize("strategy", [("strategy=head_only", "strategy.norm=recalibrate"), ("strategy=full",)])
def test_a_run_with_frozen_tensors_ends_with_each_where_it_was(train, strategy):
    """`full` has frozen ones, too: the statistics that ImageNet fills."""
    record = RunRecord.read(train(*strategy, *EMA) / "record.json")
    assert sum(row["frozen_tensors"] for row in record.plan) > 0
    for row in record.plan:
        assert row["frozen_digest_before"] == row["frozen_digest_after"]


@pytest.mark.slow
def test_from_scratch_the_average_of_a_short_run_finds_something(train):
    """72 steps: with a decay of 0.999 from the first, AP50 was 0.000; without an average it is 0.009."""
    settings = ("source=scratch", "strategy.norm=train", "dataset.num_train=16", "dataset.num_val=8")
    small = ("dataset.min_size=64", "dataset.max_size=96", "trainer.max_epochs=18", "training.evaluate_untrained=false")
    folder = train(*settings, *small, "training.ema_decay=0.999", "trainer.check_val_every_n_epoch=9")
    assert RunRecord.read(folder / "record.json").metrics["val"]["map_50"] > 0.001
