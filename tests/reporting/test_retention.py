"""What is still known of the source, over the seeds that measured it."""

from pathlib import Path
from typing import Any

import pytest

from headstart.reporting.arms import Arm
from headstart.reporting.retention import retention

from .study_records import make_record


def arm(*pairs: tuple[float | None, float | None]) -> Arm:
    """A seed per (before, after)."""
    runs = []
    for seed, (before, after) in enumerate(pairs):
        name, record = make_record(seed=seed, strategy="full")
        kept: dict[str, Any] = {"dataset": "first", "before": {"map": before}, "after": {"map": after}}
        record.metrics["retention"] = kept
        runs.append((Path(name), record))
    return Arm({}, tuple(runs))


def test_retention_is_the_mean_over_the_seeds() -> None:
    found = retention(arm((0.5, 0.40), (0.5, 0.42), (0.5, 0.44)))
    assert found is not None
    assert (found.dataset, found.seeds, found.before) == ("first", 3, 0.5)
    assert (found.after, found.retained) == (pytest.approx(0.42), pytest.approx(0.84))
    assert found.half == pytest.approx(0.04969, abs=1e-5)  # by hand in test_statistics


def test_a_seed_without_a_number_does_not_count_and_none_is_none() -> None:
    found = retention(arm((0.5, 0.4), (0.5, None), (0.0, 0.1)))
    assert found is not None
    assert (found.seeds, found.retained, found.half) == (1, pytest.approx(0.8), None)
    assert retention(Arm({}, ((Path("x"), make_record(source="scratch")[1]),))) is None
