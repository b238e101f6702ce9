"""What is stored, and why not, is said before the run."""

from dataclasses import replace

import pytest

from headstart.detectors.split import CannotSplit
from headstart.errors import UserError
from headstart.features import choose
from headstart.features.borders import frozen_front


def notes(made) -> str:
    return "\n".join(made.plan.notes)


@pytest.mark.parametrize(
    ("words", "stored"),
    [
        ("strategy=head_only", {"0": "neck"}),
        ("strategy=partial_freeze", {"0": "stage2"}),
        ("strategy=full", {}),
        ("strategy=lora", {}),  # an adapter trains in the first layer
        ("strategy=norm_only", {}),
        ("strategy=head_only strategy.norm=recalibrate", {"0": "neck"}),
        ("strategy=head_only strategy.thaw=[norm]", {}),
        ("strategy=lp_ft", {"0": "neck"}),
        (
            "strategy=gradual_unfreeze strategy.gradual.first=2 strategy.gradual.last=6 trainer.max_epochs=9",
            {"0": "neck", "4": "stem"},
        ),  # for one epoch each, stage2 and stage1 are the border: that does not pay
        ("strategy=head_only trainer.max_steps=5", {}),  # 3 steps are an epoch
        ("strategy=head_only trainer.max_epochs=1", {}),
        ("strategy=head_only trainer.max_epochs=1 strategy.feature_store=on", {"0": "neck"}),
        ("strategy=head_only strategy.feature_store=off", {}),
        ("strategy=head_only augment=views trainer.max_epochs=5", {"0": "neck"}),
        ("strategy=head_only augment=views", {}),  # four epochs, as many as it has views
        ("strategy=head_only augment=views strategy.feature_store=on", {"0": "neck"}),
    ],
)
def test_the_border_is_in_front_of_the_first_thing_that_moves(experiment, words, stored):
    made = experiment(*words.split())
    assert made.store.choice.as_dict() == stored
    assert ("features behind" in notes(made)) == bool(stored)


def test_the_plan_says_what_is_stored_how_large_and_where(experiment, tmp_path):
    line = next(note for note in experiment("strategy=head_only").plan.notes if "features" in note)
    assert line == (
        "features behind neck are computed once for each of 8 pictures, as they are, on a canvas of 48 x 64, and read "
        f"back: 0 MB in {tmp_path}/cache/features"
    )


@pytest.mark.parametrize("strategy", ["head_only", "lp_ft", "full"])
def test_where_no_picture_is_read_the_number_of_workers_is_said_to_have_no_effect(experiment, strategy):
    said = "dataset.num_workers=2 has no effect" in notes(experiment(f"strategy={strategy}", "dataset.num_workers=2"))
    assert said == (strategy == "head_only")


@pytest.mark.parametrize(
    ("words", "which"),
    [
        ("", "those of train in 4 views of augment=views"),
        ("augment.scales=[] augment.hflip=1", "those of train in the one view of augment=views"),
    ],
)
def test_the_plan_says_in_how_many_views(experiment, words, which):
    (line,) = (
        note
        for note in experiment("strategy=head_only", "augment=views", "trainer.max_epochs=9", *words.split()).plan.notes
        if "features" in note
    )
    assert f"8 pictures, {which}, on a canvas" in line


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("augment=views", "no phase that freezes a stage lasts for 5 epochs"),
        ("augment=light", "augment=light shows a picture differently in each epoch"),
        ("strategy=distill strategy.freeze_through=stage1", "strategy.distill looks at the pictures in every step"),
        ("trainer.max_epochs=1", "no phase that freezes a stage lasts for 2 epochs"),
        ("trainer.limit_train_batches=1", "trainer.limit_train_batches=1 reads only some of the pictures"),
    ],
)
def test_where_nothing_is_stored_the_plan_says_why(experiment, words, why):
    made = experiment("strategy=head_only", *words.split())
    assert made.store.choice.as_dict() == {}
    assert f"what is frozen is computed in each epoch: {why}" in notes(made)


def test_nothing_is_said_where_nothing_is_frozen(experiment):
    assert "frozen is computed" not in notes(experiment("strategy=full", "augment=light"))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("strategy=head_only augment=light", "augment=light shows a picture differently"),
        ("strategy=full", "strategy=full freezes no stage whole in front of the first one that trains"),
    ],
)
def test_on_is_refused_where_it_cannot_be_obeyed(experiment, words, why):
    with pytest.raises(UserError, match=f"strategy.feature_store=on cannot be obeyed: {why}"):
        experiment("strategy.feature_store=on", *words.split())


def test_auto_stores_no_more_than_the_limit_and_on_what_the_disk_holds(experiment, monkeypatch):
    monkeypatch.setattr(choose, "LIMIT_BYTES", 1000)
    assert "more than 0 MB" in notes(experiment("strategy=head_only"))
    assert experiment("strategy=head_only", "strategy.feature_store=on").store.choice.as_dict() == {"0": "neck"}
    monkeypatch.setattr(choose.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(UserError, match="has room for 0 MB"):
        experiment("strategy=head_only", "strategy.feature_store=on")


def test_where_the_network_cannot_be_cut_the_border_before_it_is_used_and_said(experiment, monkeypatch):
    real = choose.cut_behind

    def cut(detector, stage, batch):
        if stage == "neck":
            raise CannotSplit("behind neck: it is one piece")
        return real(detector, stage, batch)

    monkeypatch.setattr(choose, "cut_behind", cut)
    made = experiment("strategy=head_only")
    assert made.store.choice.as_dict() == {"0": "stage2"}
    assert "the network cannot be taken apart behind neck: it is one piece" in notes(made)


def test_choosing_moves_nothing_in_the_network(experiment):
    off, on = experiment("strategy=head_only", "strategy.feature_store=off"), experiment("strategy=head_only")
    state = on.detector.state_dict()
    assert all((tensor == state[name]).all() for name, tensor in off.detector.state_dict().items())
    assert [m.training for m in off.detector.modules()] == [m.training for m in on.detector.modules()]


def test_a_layer_in_training_mode_ends_the_front(experiment):
    """Dropout in a stage whose tensors are all frozen."""
    made = experiment("strategy=head_only")
    (phase,) = made.plan.phases
    early = frozenset(name for name in phase.eval_modules if name.startswith(("backbone.stem", "backbone.stage1")))
    awake = replace(phase, eval_modules=early)
    assert frozen_front(made.detector, phase) == ["stem", "stage1", "stage2", "neck"]
    assert frozen_front(made.detector, awake) == ["stem", "stage1"]
