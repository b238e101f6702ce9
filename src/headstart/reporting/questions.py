"""Whether the records can answer what is asked."""

from __future__ import annotations

import re
from collections.abc import Sequence

from headstart.errors import UserError
from headstart.reporting.arms import Arm
from headstart.reporting.comparability import Group
from headstart.reporting.measured import Run


def check_split(split: str, runs: Sequence[Run]) -> None:
    """Raises `UserError` where no record has the split; empty is none asked for."""
    if split and (split not in ("val", "test") or not any(record.metrics.get(split) for _, record in runs)):
        raise UserError(
            f"split={split}: no record has it. dataset.test_split names a test set before training, "
            "dataset.test_fraction draws one; split=val is in every record."
        )


def check_metric(groups: Sequence[Group], metric: str) -> None:
    """Raises `UserError` where no record has the metric."""
    results = [record.metrics[group.split] for group in groups for _, record in group.runs]
    start, _, key = metric.partition("/")
    known = {name for result in results for name in _metric_names(result)}
    if metric not in known:
        names = {name for name in known if key and name.startswith(f"{start}/")}
        names = names or {re.sub("/.*", "/<class>", name) for name in known}
        raise UserError(f"metric={metric}: the records have {', '.join(sorted(names))}.")


def _metric_names(result: dict[str, object]) -> list[str]:
    plain = [name for name, value in result.items() if not isinstance(value, dict) and name != "images"]
    return plain + [f"{name}/{key}" for name, value in result.items() if isinstance(value, dict) for key in value]


def check_pooled_by(keys: Sequence[str], arms: Sequence[Arm]) -> None:
    """Raises `UserError` where no arm has one of the settings `keys`."""
    labels = list(dict.fromkeys(name for arm in arms for name in arm.labels))
    if unknown := [key for key in keys if not any(arm.setting(key) for arm in arms)]:
        raise UserError(
            f"group={','.join(unknown)}: these runs differ in {', '.join(labels) or 'nothing but the seed'}."
        )
