"""What an arm's number owes to something else than what it is there to show: choices made on the images it is judged
by, the arithmetic it was computed in, augmentation that other arms do not have. Imports no torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from headstart.records.record import RunRecord
from headstart.reporting.arms import Arm

KINDS = ("mixtures", "trials", "epochs")
"""Of what the best was kept."""

MANY_EPOCHS = 2
"""Times as many as the arm with fewest has: so many more to choose from count as more selection."""


def selection(record: RunRecord) -> dict[str, int]:
    """Kind -> number of candidates that the validation chose among; derived where an older record does not say."""
    found = record.metrics.get("selection")
    if found is not None:
        return {kind: int(found[kind]) for kind in KINDS if found.get(kind)}
    validated = [row for row in record.metrics.get("history", []) if row.get("epoch") and _is_validated(row)]
    derived = {"mixtures": len(record.metrics.get("interpolation") or []), "epochs": len(validated)}
    return {kind: number for kind, number in derived.items() if number}


def _is_validated(row: dict[str, Any]) -> bool:
    return any(key.startswith("val/") and value is not None for key, value in row.items())


def chosen_on(arms: Sequence[Arm], split: str) -> list[str]:
    """Of each arm what was chosen on the images compared, more than in another arm: `best of 5 mixtures`, else empty.

    Nothing is chosen by another split than `val`.
    """
    if split != "val":
        return [""] * len(arms)
    found = [_most(arm) for arm in arms]
    least = {kind: min((numbers.get(kind, 1) for numbers in found), default=1) for kind in KINDS}
    least["epochs"] = min((numbers["epochs"] for numbers in found if "epochs" in numbers), default=1)
    return [_words({kind: n for kind, n in numbers.items() if _is_more(kind, n, least[kind])}) for numbers in found]


def _most(arm: Arm) -> dict[str, int]:
    most: dict[str, int] = {}
    for record in arm.records:
        most |= {kind: max(n, most.get(kind, 0)) for kind, n in selection(record).items()}
    return most


def _is_more(kind: str, number: int, least: int) -> bool:
    return number > least * (MANY_EPOCHS if kind == "epochs" else 1)


def _words(numbers: dict[str, int]) -> str:
    words = [f"{numbers[kind]} {kind}" for kind in KINDS if kind in numbers]
    return f"best of {' and of '.join(words)}" if words else ""


AUGMENTATION = "augmentation"
"""A setting, and a condition where arms differ in something else besides: all arms of a study share it, or the
difference may be its own."""
PACKAGES = ("headstart", "torch", "torchvision", "lightning", "timm")
"""Whose version can move a result."""


def conditions(record: RunRecord) -> dict[str, str]:
    """Precision, device and versions, as far as the record says them."""
    found = record.environment
    packages = found.get("packages") or {}
    known = {"precision": found.get("precision"), "device": found.get("device") or _device(record)}
    known |= {name: packages.get(name) for name in PACKAGES}
    return {name: str(value) for name, value in known.items() if value}


def changes(record: RunRecord) -> list[str]:
    """What changed of them between the run's attempts, in words: `torch 2.11.0 -> 2.12.0`."""
    names = ("precision", "device", *PACKAGES)
    return [line for line in record.environment.get("changes") or [] if line.split()[0] in names]


def _device(record: RunRecord) -> str | None:
    """As an older record lets guess: it names the GPUs of the machine, and what it was asked to use."""
    gpus = record.environment.get("gpus")
    if gpus and (record.config.get("trainer") or {}).get("accelerator") != "cpu":
        return str(gpus[0])
    return None if gpus is None else "cpu"


Mixture = dict[str, dict[str, list[Arm]]]
"""Condition -> value -> arms with runs under it."""


def mixture(arms: Sequence[Arm]) -> Mixture:
    """The conditions in which the runs of `arms` differ; augmentation where it is not what they were made to show."""
    found: dict[str, dict[str, list[Arm]]] = defaultdict(lambda: defaultdict(list))
    for arm in arms:
        for name, values in conditions_of(arm).items():
            for value in values:
                found[name][value].append(arm)
    if _is_shown(arms):
        found.pop(AUGMENTATION, None)
    return {name: dict(sides) for name, sides in found.items() if len(sides) > 1}


def _is_shown(arms: Sequence[Arm]) -> bool:
    """Whether what else the arms are was tried with each augmentation: then a row beside it tells what it does."""
    with_each: dict[tuple[tuple[str, str], ...], set[str]] = defaultdict(set)
    for arm in arms:
        rest = tuple((name, value) for name, value in arm.labels.items() if not _is_augmentation(name))
        with_each[rest] |= set(conditions_of(arm).get(AUGMENTATION, []))
    return len({frozenset(found) for found in with_each.values()}) == 1


def _is_augmentation(label: str) -> bool:
    return label.partition(".")[0] == "augment"


def conditions_of(arm: Arm) -> dict[str, list[str]]:
    """Condition -> values in the runs of the arm: more than one where it mixes them."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for record in arm.records:
        for name, value in conditions(record).items():
            found[name][value] = None
        if augmentation := (record.config.get("augment") or {}).get("name"):
            changed = (f"{name}={value}" for name, value in arm.labels.items() if name.startswith("augment."))
            found[AUGMENTATION][" ".join([augmentation, *changed])] = None
    return {name: list(values) for name, values in found.items()}


def computed_in(arm: Arm, mixed: Mixture) -> str:
    """Of the conditions in `mixed` those of the arm: `precision bf16-mixed, torch 2.11.0 and 2.12.0`."""
    found = conditions_of(arm)
    return ", ".join(f"{name} {' and '.join(found[name])}" for name in mixed if name in found)
