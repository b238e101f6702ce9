"""Which arm another one is compared with."""

from __future__ import annotations

import re
from collections.abc import Sequence

from headstart.errors import UserError
from headstart.reporting.arms import Arm
from headstart.reporting.statistics import mean

Spec = dict[str, str]
"""Label -> value: `source` -> `scratch`."""

MAY_DIFFER = ("source", "strategy", "optimizer", "scheduler")
"""Groups in which an arm and its baseline may differ although the baseline does not name them: a scratch run cannot
freeze, and a strategy brings its own learning rate."""

TUNED = (
    *MAY_DIFFER,
    "augment",
    "training",
    "dataset.batch_size",
    "trainer.accumulate_grad_batches",
    "trainer.gradient_clip_val",
)
"""Groups and settings that whoever trains from scratch would tune, too: they give it neither other data or labels, nor
another network, nor more epochs, nor another measurement."""


def parse_spec(text: str) -> Spec:
    """`source=scratch`, or several joined by commas or blanks. Raises `UserError` for anything else."""
    words = [word for word in re.split(r"[,\s]+", text.strip("[] ")) if word]
    pairs = [word.partition("=") for word in words]
    if not pairs or not all(name and value for name, _, value in pairs):
        raise UserError(f"baseline={text}: give what it has, as in baseline=source=scratch.")
    return {name: value for name, _, value in pairs}


def matches(arm: Arm, spec: Spec) -> bool:
    return all(arm.setting(name) == value for name, value in spec.items())


def default_spec(arms: Sequence[Arm]) -> Spec | None:
    """Scratch where there is one, else full fine-tuning beside other strategies, else nothing."""
    for arm in arms:
        if is_scratch(arm) and "source" in arm.labels:
            return {"source": arm.labels["source"]}
    if any(arm.labels.get("strategy") == "full" for arm in arms):
        return {"strategy": "full"}
    return None


def is_scratch(arm: Arm) -> bool:
    return all(record.config.get("source", {}).get("kind") == "scratch" for record in arm.records)


def check_spec(spec: Spec, arms: Sequence[Arm]) -> None:
    """Raises `UserError` where no arm of any target is the baseline."""
    if any(matches(arm, spec) for arm in arms):
        return
    labels = {name: sorted({value for arm in arms if (value := arm.setting(name))}) for name in spec}
    known = "; ".join(f"{name}: {', '.join(values) or 'no such setting'}" for name, values in labels.items())
    wanted = ",".join(f"{name}={value}" for name, value in spec.items())
    raise UserError(f"baseline={wanted}: no finished run has it. There is {known}.")


def counterpart(arm: Arm, baselines: Sequence[Arm], spec: Spec, metric: str, split: str) -> Arm | None:
    """The one of `baselines`, which match `spec`, that `arm` is compared with: it is as like as there is.

    Data, labels, model and budget are the same; of several the one with most in common, and of those the best, so that
    no gain is owed to a weak baseline. From scratch it is the best of all that are comparable (`TUNED`), like or not: a
    gain over scratch with a learning rate that suits only the other is none. That it is chosen by the metric it is
    compared by can only make a gain smaller; harm is judged in a family that holds every pair. None where there is no
    such arm.
    """

    def level(other: Arm) -> float:
        return mean(list(other.by_seed(metric, split).values()) or [-1.0])

    def likeness(other: Arm) -> tuple[int, float]:
        return sum(other.labels.get(name) == value for name, value in arm.labels.items()), level(other)

    candidates = [other for other in baselines if _comparable(arm, other, spec)]
    found = max(candidates, key=likeness, default=None)
    if found is None or not is_scratch(found):
        return found
    return max(filter(is_scratch, candidates), key=level)


def _comparable(arm: Arm, other: Arm, spec: Spec) -> bool:
    """A baseline that names `model=ssd` brings the settings of that model, too."""
    free = {*spec, *(TUNED if is_scratch(other) else MAY_DIFFER)}
    return all(
        other.labels.get(name) == value or name in free or name.partition(".")[0] in free
        for name, value in arm.labels.items()
    )


def pool(arms: Sequence[Arm], keys: Sequence[str]) -> tuple[list[Arm], list[Arm]]:
    """Arms with the labels `keys` alone, averaged over what all of them have; and the arms that were left out for it.

    Only what every group has is pooled: else a group that lacks the hardest cell would look better.
    Raises `UserError` where they have nothing in common.
    """
    groups: dict[tuple[str, ...], dict[tuple[tuple[str, str], ...], Arm]] = {}
    for arm in arms:
        rest = tuple((name, value) for name, value in arm.labels.items() if name not in keys)
        groups.setdefault(tuple(arm.setting(key) or "-" for key in keys), {})[rest] = arm
    common = set.intersection(*(set(cells) for cells in groups.values()))
    if not common:
        raise UserError(
            f"group={','.join(keys)}: the groups {'; '.join(' '.join(group) for group in groups)} have no other "
            "setting in common, so their means would be of different things. Leave group out to see every arm."
        )
    pooled = [_pooled(dict(zip(keys, group, strict=True)), cells, common) for group, cells in groups.items()]
    left = [arm for cells in groups.values() for rest, arm in cells.items() if rest not in common]
    return pooled, left


def _pooled(
    labels: Spec, cells: dict[tuple[tuple[str, str], ...], Arm], common: set[tuple[tuple[str, str], ...]]
) -> Arm:
    runs = [run for rest, arm in cells.items() if rest in common for run in arm.runs]
    return Arm(labels, tuple(sorted(runs, key=lambda run: run[1].choices["seed"])), cells=len(common))
