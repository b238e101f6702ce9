"""What may stand in one table: mAP on other images, or by another definition, is another quantity."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from headstart.errors import UserError
from headstart.records.record import RunRecord

Run = tuple[Path, RunRecord]
MOST_NAMES = 4


def refuse_unlike(runs: Sequence[Run]) -> None:
    """Raises `UserError` with every difference that forbids comparing `runs`, and the runs on each side of it."""
    if problems := [problem for check in (_checks(), _training_images(runs)) for problem in _found(runs, check)]:
        raise UserError("\n".join(problems))


Check = tuple[str, Callable[[RunRecord], str | None], str]
"""What differs, its value in a record (None: the record does not take part), and what to do."""


def _checks() -> Iterator[Check]:
    yield (
        "were evaluated on different images, so their mAP cannot be compared",
        lambda record: str(record.dataset.get("evaluation_fingerprint"))[:12],
        "Compare runs of one data set and one split (dataset, dataset.split_seed, dataset.val_fraction).",
    )
    yield (
        "were evaluated by different definitions of mAP",
        lambda record: _settings(record, "evaluation", ("engine", "max_detections")),
        "Compare runs with the same evaluation.engine and evaluation.max_detections.",
    )
    yield (
        "saw images of different sizes",
        lambda record: _settings(record, "dataset", ("min_size", "max_size")),
        "Compare runs with the same dataset.min_size and dataset.max_size.",
    )


def _training_images(runs: Sequence[Run]) -> Iterator[Check]:
    """Runs with the same settings of the data, all images used: they must have found the same images."""
    groups = {_data_settings(record) for _, record in runs}
    for group in sorted(group for group in groups if group is not None):
        yield (
            "were trained on different images although their settings are the same: the data has changed in between",
            lambda record, group=group: (
                str(record.dataset.get("fingerprint"))[:12] if _data_settings(record) == group else None
            ),
            "Restore the data, or run the older ones again with rerun=true.",
        )


def _data_settings(record: RunRecord) -> str | None:
    settings: dict[str, Any] = record.config.get("dataset", {})
    if settings.get("fraction", 1) != 1 or settings.get("shots") is not None:
        return None
    where = ("root", "num_workers", "cache", "download", "batch_size", "subset_seed")
    return repr(sorted((name, str(value)) for name, value in settings.items() if name not in where))


def _settings(record: RunRecord, group: str, names: Sequence[str]) -> str:
    settings: dict[str, Any] = record.config.get(group, {})
    return ", ".join(f"{group}.{name}={settings.get(name)}" for name in names)


def _found(runs: Sequence[Run], checks: Iterator[Check]) -> Iterator[str]:
    for what, value_of, remedy in checks:
        sides: dict[str, list[str]] = defaultdict(list)
        for path, record in runs:
            if (value := value_of(record)) is not None:
                sides[value].append(path.name)
        if len(sides) > 1:
            lines = [f"  {value}: {names_of(names)}" for value, names in sides.items()]
            yield f"These runs {what}:\n" + "\n".join(lines) + f"\n{remedy}"


def names_of(names: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
