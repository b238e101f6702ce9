"""What a detector still knows of its source after the transfer."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.reporting.arms import Arm
from headstart.reporting.statistics import interval_95, mean


@dataclass(frozen=True)
class Retention:
    """mAP on the source's own data, over the seeds that measured it."""

    dataset: str
    before: float
    after: float
    half: float | None
    """Of `after`."""
    retained: float
    """Mean of after / before."""
    seeds: int


def retention(arm: Arm) -> Retention | None:
    """None where it was not measured."""
    found = [kept for record in arm.records if (kept := record.metrics.get("retention"))]
    pairs = [(kept["before"].get("map"), kept["after"].get("map")) for kept in found]
    pairs = [(before, after) for before, after in pairs if before and after is not None]
    if not pairs:
        return None
    after = [after for _, after in pairs]
    return Retention(
        ", ".join(sorted({str(kept["dataset"]) for kept in found})),
        mean([before for before, _ in pairs]),
        mean(after),
        interval_95(after),
        mean([after / before for before, after in pairs]),
        len(pairs),
    )
