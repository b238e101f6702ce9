"""What a user trains for: the detector finds the objects afterwards."""

import pytest

from headstart.records.record import RunRecord


@pytest.mark.slow
def test_full_fine_tuning_learns_the_drawn_shapes(train):
    """From nothing to a detector that finds half of what there is, in 192 steps."""
    folder = train(
        "dataset=shapes_source",
        "dataset.num_train=128",
        "dataset.num_val=24",
        "dataset.batch_size=8",
        "trainer.max_epochs=12",
        "trainer.check_val_every_n_epoch=12",
        "augment=none",
        "model.anchor_scale=0.5",
        "optimizer.lr=1e-3",
    )
    metrics = RunRecord.read(folder / "record.json").metrics
    untrained = metrics["history"][0]["val/map"]
    assert untrained < 0.02
    assert metrics["val"]["map"] > 0.25
    assert metrics["val"]["map_50"] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("model", ["yolov3", "yolox"])
def test_a_yolo_learns_the_drawn_shapes(train, model):
    """On a body of ImageNet, in 128 steps."""
    folder = train(
        f"model={model}",
        "dataset=shapes_source",
        "dataset.num_train=128",
        "dataset.num_val=24",
        "dataset.batch_size=8",
        "trainer.max_epochs=8",
        "trainer.check_val_every_n_epoch=8",
        "augment=none",
        "optimizer.lr=1e-3",
    )
    metrics = RunRecord.read(folder / "record.json").metrics
    assert metrics["history"][0]["val/map"] < 0.02
    assert metrics["val"]["map_50"] > 0.5
