"""Training from stored features is training through the network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from headstart.detectors import split
from headstart.detectors.files import read_tensors
from headstart.features import store
from headstart.records.record import RunRecord

FROZEN = ("strategy=head_only", "training.evaluate_untrained=false")


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A line for each batch of which a prefix is computed for a store: the border."""
    found: list[str] = []

    def count(detector: Any, cut: split.Cut, batch: Any) -> Any:
        found.append(cut.stage)
        return split.prefix_of(detector, cut, batch)

    monkeypatch.setattr(store, "prefix_of", count)
    return found


def outcome(folder: Path) -> tuple[dict[str, Any], list[dict[str, float]], dict[str, Any]]:
    """Weights, curve and end of a run."""
    record = RunRecord.read(folder / "record.json")
    curve = [{name: v for name, v in row.items() if "seconds" not in name} for row in record.metrics["history"]]
    return read_tensors(folder / "model.safetensors"), curve, record.metrics["val"]


def same(one: Path, other: Path) -> bool:
    (weights, *numbers), (others, *other_numbers) = outcome(one), outcome(other)
    equal = all(torch.equal(tensor, others[name]) for name, tensor in weights.items())
    return equal and weights.keys() == others.keys() and numbers == other_numbers


@pytest.mark.parametrize(
    ("augment", "views"),
    [("none", 1), pytest.param("views", 4, marks=pytest.mark.slow)],
)
def test_a_run_from_the_store_is_the_run_through_the_network_and_the_next_cell_computes_nothing(
    full_run: Path, train: Callable[..., Path], computed: list[str], tmp_path: Path, augment: str, views: int
) -> None:
    words = (*FROZEN, "source=checkpoint", f"source.path={full_run}", f"augment={augment}")
    through = train(*words, "strategy.feature_store=off", into=tmp_path / "off")
    assert computed == []
    words = (*words, "strategy.feature_store=on")
    stored = train(*words, into=tmp_path / "on")
    assert computed == ["neck"] * (views * 3 + 2)  # 10 and 5 pictures in batches of 4
    assert same(stored, through)
    assert RunRecord.read(stored / "record.json").environment["feature_store"] == {"0": "neck"}
    computed.clear()
    train(*words, "seed=1", into=tmp_path / "on")
    assert computed == []
