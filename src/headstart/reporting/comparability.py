"""What may stand in one table: mAP on other images, or by another definition, is another quantity."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.errors import UserError
from headstart.records.record import RunRecord
from headstart.reporting.measured import (
    Run,
    Unmeasured,
    fingerprints,
    finished,
    folders,
    why_no_measurement,
    why_not_whole,
)

MOST_NAMES = 4
DEFINITION = ("evaluation.engine", "evaluation.max_detections")
"""Settings that say what mAP means."""


@dataclass(frozen=True)
class Group:
    """Runs whose mAP is one quantity: on the same images, by the same definition."""

    runs: tuple[Run, ...]
    split: str
    why: str
    """It was this split."""
    images: str
    """Fingerprint of the split."""
    definition: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Of the data set, the most frequent first: the same images may be called by more than one."""
        return [name for name, _ in Counter(dataset_name(record) for _, record in self.runs).most_common()]


def dataset_name(record: RunRecord) -> str:
    return str(record.dataset.get("name") or record.choices.get("dataset"))


def make_groups(runs: Sequence[Run], split: str = "") -> tuple[list[Group], list[Unmeasured]]:
    """Finished `runs`, grouped by what their mAP is, and those that are no measurement of `split`.

    `split` empty: `test`, which chose nothing, where every run of a group has the same one; else `val`.
    """
    left = [Unmeasured(path, record, why) for path, record in runs if (why := why_no_measurement(record))]
    tried = [run for run in runs if not why_no_measurement(run[1])]
    images = {name: fingerprints(tried, name) for name in ("val", "test")}
    chosen = [(split, "")] * len(tried) if split else _choose(tried, images)
    members: dict[tuple[tuple[str, ...], str, str], list[Run]] = defaultdict(list)
    reasons: dict[tuple[tuple[str, ...], str, str], str] = {}
    for number, (run, (on, why)) in enumerate(zip(tried, chosen, strict=True)):
        if reason := why_not_whole(run[1], on):
            left.append(Unmeasured(*run, reason))
            continue
        key = (_definition(run[1]), on, images[on][number])
        members[key].append(run)
        reasons[key] = why
    groups = [Group(tuple(found), key[1], reasons[key], key[2], key[0]) for key, found in members.items()]
    return sorted(groups, key=lambda group: group.names[0]), left


def _choose(runs: Sequence[Run], images: dict[str, list[str]]) -> list[tuple[str, str]]:
    """Of each run the split it is compared on, and why: the same for all that have one validation set."""
    alike: dict[tuple[tuple[str, ...], str], list[int]] = defaultdict(list)
    for number, (_, record) in enumerate(runs):
        alike[_definition(record), images["val"][number]].append(number)
    chosen = [("val", "")] * len(runs)
    for numbers in alike.values():
        found = _split_of([runs[number] for number in numbers], [images["test"][number] for number in numbers])
        for number in numbers:
            chosen[number] = found
    return chosen


def _split_of(runs: Sequence[Run], tests: Sequence[str]) -> tuple[str, str]:
    lacking = [path.name for (path, record), test in zip(runs, tests, strict=True) if _lacks(record, test)]
    if not lacking and len(set(tests)) == 1:
        return "test", "every run has the same test images, which chose nothing"
    if not lacking:
        return "val", "the runs have different test images"
    if len(lacking) == len(runs):
        return "val", "no run has test images, which dataset.test_fraction draws"
    return "val", f"not every run was measured on test images: {names_of(lacking)} {_be(lacking)} not"


def _lacks(record: RunRecord, test: str) -> bool:
    return not test or bool(why_not_whole(record, "test"))


def _be(names: Sequence[str]) -> str:
    return "was" if len(names) == 1 else "were"


def _definition(record: RunRecord) -> tuple[str, ...]:
    return tuple(f"{name}={value_at(record.config, name)}" for name in DEFINITION)


def value_at(config: dict[str, Any], name: str) -> Any:
    """`group.key` of a configuration; None where it has none."""
    group, _, key = name.partition(".")
    return (config.get(group) or {}).get(key)


def only_group(runs: Sequence[Run]) -> tuple[Group, list[Unmeasured]]:
    """For one table, on the validation images. Raises `UserError` where the runs do not belong in one."""
    groups, left = make_groups(finished(runs), "val")
    if not groups:
        raise UserError(no_measurement(left))
    if len(groups) > 1:
        sides = "\n".join(
            f"  {title}: {names_of(folders(group.runs))}" for title, group in zip(titles(groups), groups, strict=True)
        )
        raise UserError(
            "These runs were evaluated on different images, or by different definitions of mAP, and cannot stand in "
            f"one table:\n{sides}"
        )
    return groups[0], left


def no_measurement(left: Sequence[Unmeasured]) -> str:
    reasons = "".join(f"\n  {run.path.name}: {run.why}" for run in left)
    return f"No finished run was measured on the whole of a split:{reasons}"


PARTED_BY = (
    "dataset.root",
    *DEFINITION,
    "dataset.val_split",
    "dataset.val_json",
    "dataset.val_images",
    "dataset.test_split",
    "dataset.val_fraction",
    "dataset.test_fraction",
    "dataset.overlap",
    "dataset.split_seed",
    "dataset.num_val",
    "dataset.draw_seed",
)
"""Settings that may tell groups of one name apart, the most telling first."""


def titles(groups: Sequence[Group]) -> list[str]:
    """A name for each, no two the same: that of the data set, and where it is shared, what tells them apart."""
    words: list[list[str]] = [[] for _ in groups]
    for name in {group.names[0] for group in groups}:
        numbers = [number for number, group in enumerate(groups) if group.names[0] == name]
        for number, found in zip(numbers, _told_apart([groups[number] for number in numbers]), strict=True):
            words[number] = found
    return [
        group.names[0] + (f" ({', '.join(found)})" if found else "") for group, found in zip(groups, words, strict=True)
    ]


def _told_apart(groups: Sequence[Group]) -> list[list[str]]:
    words: list[list[str]] = [[] for _ in groups]
    for name in PARTED_BY:
        more = [[*found, *_shared(group, name)] for found, group in zip(words, groups, strict=True)]
        if len(set(map(tuple, more))) > len(set(map(tuple, words))):
            words = more
    if len(set(map(tuple, words))) < len(groups):
        images = [f"{group.split} images {group.images[:8]}" for group in groups]
        words = [[*found, word] for found, word in zip(words, images, strict=True)]
    return words


def _shared(group: Group, name: str) -> Iterator[str]:
    """The setting, where all runs of the group have the same: of a root the value alone."""
    values = {str(value) for _, record in group.runs if (value := value_at(record.config, name)) is not None}
    if len(values) == 1:
        yield values.pop() if name == "dataset.root" else f"{name.partition('.')[2]}={values.pop()}"


def names_of(names: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
