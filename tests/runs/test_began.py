"""What belongs to a command is known by when it was begun, and by whose it was where the clock has been set back."""

from datetime import UTC, datetime, timedelta

import pytest

from headstart.records.record import RunRecord
from headstart.runs.began import STARTED, STUDY, is_older

NOW = datetime.now(UTC)


def at(**since) -> str:
    return (NOW + timedelta(**since)).isoformat(timespec="milliseconds")


@pytest.mark.parametrize(
    ("begun", "started", "older"),
    [
        ({"hours": -2}, {"hours": -1}, True),
        ({"hours": -1}, {"hours": -2}, False),
        ({"hours": 1}, {"hours": -1}, True),  # by a clock that was an hour ahead
        ({"hours": 1}, {"hours": 0}, True),
    ],
)
def test_what_was_begun_in_the_future_is_of_an_earlier_command(begun, started, older):
    record = RunRecord(environment={"attempts": [at(**begun)]})
    assert is_older(record, at(**started)) is older


def test_what_this_very_study_began_is_its_own_whatever_the_clock_says(monkeypatch):
    started = at(hours=-1)
    monkeypatch.setenv(STUDY, "all")
    monkeypatch.setenv(STARTED, started)
    for begun in ({"hours": -3}, {"hours": 3}):
        record = RunRecord(environment={"attempts": [at(**begun)], "study": f"all@{started}"})
        assert not is_older(record, started)
        record.environment["study"] = "other@then"
        assert is_older(record, started)
