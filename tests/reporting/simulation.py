"""Studies whose truth is known, through `compare_runs` and the advice; nothing is trained and nothing is written."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.reporting.advice import advice
from headstart.reporting.comparability import Run
from headstart.reporting.comparison import Target, compare_runs
from headstart.reporting.rows import Question

from .study_records import make_record

SEED_EFFECT = 0.05
"""What the seed adds to all arms of a study."""


@dataclass(frozen=True)
class Truth:
    means: Sequence[float]
    """Of each arm, the first from scratch, the others from a source each; later ones are cheaper."""
    noise: Sequence[float]
    """Standard deviation of each arm beside what the seed adds."""
    seeds: int
    lacking: int = 0
    """Seeds that the last arm lacks."""


def equal(seeds: int, noise: Sequence[float], **more: int) -> Truth:
    return Truth([0.4] * len(noise), noise, seeds, **more)


def name(arm: int) -> str:
    return "scratch" if arm == 0 else f"source{arm:02d}"


def records(truth: Truth) -> list[Run]:
    """Without numbers."""
    runs = []
    for arm in range(len(truth.means)):
        for seed in range(truth.seeds - (truth.lacking if arm == len(truth.means) - 1 else 0)):
            folder, record = make_record(source=name(arm), seed=seed, ap=0.0, epochs=0)
            record.cost["cpu_seconds"] = 1000.0 - arm
            runs.append((Path(folder), record))
    return runs


def studies(truth: Truth, number: int, seed: int = 0) -> Iterator[list[Run]]:
    """The same records again and again, each time with other numbers."""
    draw, runs = random.Random(seed), records(truth)
    places = {name(arm): arm for arm in range(len(truth.means))}
    for _ in range(number):
        level = [draw.gauss(0, SEED_EFFECT) for _ in range(truth.seeds)]
        for _, record in runs:
            arm = places[record.choices["source"]]
            ap = truth.means[arm] + level[record.choices["seed"]] + draw.gauss(0, truth.noise[arm])
            record.metrics["val"] |= {"map": ap, "per_class": {}}
        yield runs


def compared(truth: Truth, number: int, **question: float) -> Iterator[Target]:
    for runs in studies(truth, number):
        yield compare_runs(runs, Question(**question)).targets[0]  # pyright: ignore[reportArgumentType]


def share(truth: Truth, number: int, holds: Callable[[Target], bool], **question: float) -> float:
    """Of studies in which something holds."""
    return sum(map(holds, compared(truth, number, **question))) / number


def says_anything(target: Target) -> bool:
    """In the table, of transfer, or in words: whatever a reader takes for sure."""
    found = [found for row in target.rows for found in (row.difference, row.gain) if found is not None]
    assert len(found) >= len(target.rows) - 1
    text = advice(target)
    words = "Sure" in text or "is better" in text or "Negative transfer" in text
    return words or any(one.verdict != "not distinguishable" for one in found)


def verdict(target: Target, arm: int, other: int) -> str:
    found = target.family.judge(f"source={name(arm)}", f"source={name(other)}")
    assert found is not None
    return found.verdict


def advises(target: Target, arm: int) -> bool:
    return advice(target).startswith(f"Use full from {name(arm)}:")
