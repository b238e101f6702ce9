"""A whole run from stored features is the run through the network, whatever else the strategy does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import headstart.run
from headstart.config.resolve import resolved_dict
from headstart.data import blocks
from headstart.records.record import RunRecord
from headstart.runs.account import describe_start
from headstart.runs.changes import arithmetic_changes
from headstart.runs.experiment import Experiment
from headstart.training import wandb_report

Train = Callable[..., tuple[dict[str, Any], list[dict[str, Any]], Any, list[str]]]


@pytest.fixture
def train(experiment: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Train:
    """`train(folder, *words)`: weights, curve and end of a run, and where its losses' features are from."""
    monkeypatch.setattr(headstart.run, "save_exported", lambda *_, **__: None)

    def call(folder: str, *words: str, before_step: Callable[[int], None] = lambda epoch: None) -> Any:
        made = experiment(*words)
        (tmp_path / folder).mkdir(exist_ok=True)
        record, steps = RunRecord(config=resolved_dict(made.config)), []
        known = made.module.known_features

        def watched(split: str, batch: Any) -> Any:
            if split == "train":
                before_step(made.module.current_epoch)
            found = known(split, batch)
            steps.append("network" if found is None else "store")
            return found

        monkeypatch.setattr(made.module, "known_features", watched)
        headstart.run.train(made, tmp_path / folder, record)
        curve = [{k: v for k, v in row.items() if "seconds" not in k} for row in record.metrics["history"]]
        ends = {name: value for name, value in record.metrics.items() if name != "history"}
        return made.detector.state_dict(), curve, ends, steps

    return call


def equal(ones: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    return ones.keys() == others.keys() and all(torch.equal(tensor, others[name]) for name, tensor in ones.items())


@pytest.mark.parametrize(
    "words",
    [
        "strategy=lp_ft",
        "strategy=head_only augment=views trainer.max_epochs=5 trainer.num_sanity_val_steps=1",
        *(
            pytest.param(words, marks=pytest.mark.slow)
            for words in (
                "strategy=head_only dataset.tile.size=120",
                "strategy=head_only trainer.precision=bf16-mixed",
                "strategy=head_only dataset.num_workers=1 dataset.cache=none trainer.num_sanity_val_steps=1",
                "strategy=lp_ft dataset.num_workers=1 dataset.cache=none",
                "strategy=lp_ft augment=views trainer.max_epochs=12 dataset.cache=disk dataset.num_workers=1",
                "strategy=head_only strategy.norm=recalibrate training.evaluate_untrained=false",
                "strategy=head_only training.ema_decay=0.5",
                "strategy=partial_freeze strategy.interpolate=[0,0.5,1]",
                "strategy=gradual_unfreeze strategy.gradual.first=2 strategy.gradual.last=3",
            )
        ),
    ],
)
def test_weights_curve_and_map_are_those_of_the_run_through_the_network(train, words):
    weights, curve, ends, steps = train("off", *words.split(), "strategy.feature_store=off")
    assert set(steps) == {"network"}
    others, other_curve, other_ends, other_steps = train("auto", *words.split())
    assert "store" in other_steps
    assert equal(weights, others)
    assert (repr(curve), repr(ends)) == (repr(other_curve), repr(other_ends))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the pictures that are decoded, of those that are not kept."""
    found: list[str] = []
    real = blocks.load

    def load(image: Any, size: Any) -> torch.Tensor:
        found.append(image.name)
        return real(image, size)

    monkeypatch.setattr(blocks, "load", load)
    return found


def test_pictures_are_decoded_for_the_store_alone_and_in_the_next_cell_never(train: Train, decoded: list[str]) -> None:
    words = "strategy=head_only augment=views trainer.max_epochs=5 dataset.cache=none training.evaluate_untrained=false"
    train("first", *words.split())
    assert len(decoded) == 4 * 6 + 4  # views of train, filled up to whole batches of two; val
    decoded.clear()
    train("second", *words.split(), "seed=1")
    assert decoded == []


def test_in_phases_that_freeze_nothing_pictures_are_read(train: Train, decoded: list[str]) -> None:
    """lp_ft: two epochs of five training pictures and three of val from the store, two through the network."""
    train("run", *["strategy=lp_ft", "dataset.cache=none", "training.evaluate_untrained=false"])
    assert len(decoded) == (6 + 4) + 2 * (4 + 3)  # a last batch of one picture is left out


def test_pictures_that_are_logged_are_those_of_the_data_although_no_batch_had_their_pixels(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, list[torch.Tensor]] = {"off": [], "on": []}
    real = wandb_report._drawn
    for store in shown:

        def drawn(image: torch.Tensor, *others: Any, store: str = store) -> torch.Tensor:
            shown[store].append(image)
            return real(image, *others)

        monkeypatch.setattr(wandb_report, "_drawn", drawn)
        train(
            store, "strategy=head_only", "logger=tensorboard", "trainer.max_epochs=2", f"strategy.feature_store={store}"
        )
    assert len(shown["on"]) >= 3
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(shown["on"], shown["off"], strict=True))


@pytest.mark.parametrize("strategy", ["strategy=head_only", pytest.param("strategy=lp_ft", marks=pytest.mark.slow)])
def test_a_run_that_is_interrupted_and_gone_on_with_is_the_undisturbed_one(train, strategy):
    def interrupted(epoch: int) -> None:
        if epoch == 1:
            raise ConnectionError("the machine is gone")

    undisturbed = train("whole", strategy)
    with pytest.raises(ConnectionError):
        train("halves", strategy, before_step=interrupted)
    weights, curve, _, steps = train("halves", strategy)
    assert steps[0] == "store"
    assert equal(weights, undisturbed[0])
    assert repr(curve) == repr(undisturbed[1])


def test_what_auto_came_to_is_in_the_record_and_a_run_that_goes_on_with_another_is_told(experiment):
    stored, plain = (
        describe_start(experiment("strategy=head_only", f"strategy.feature_store={mode}")).environment
        for mode in ("auto", "off")
    )
    assert (stored["feature_store"], plain["feature_store"]) == ({"0": "neck"}, {})
    assert arithmetic_changes(stored, plain) == ["feature_store {'0': 'neck'} -> {}"]
    before = {name: value for name, value in plain.items() if name != "feature_store"}
    assert arithmetic_changes(before, plain) == []
