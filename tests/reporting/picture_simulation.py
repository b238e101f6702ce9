"""Studies on drawn pictures whose truth is known: of numbers a picture, and of detections."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headstart.evaluation.matching import match
from headstart.evaluation.types import ImageResult
from headstart.reporting.comparison import Target, compare_runs
from headstart.reporting.pictures import BUDGET
from headstart.reporting.rows import Question
from headstart.reporting.statistics import Difference

from .simulation import Truth, equal, name, records

LOUD = BUDGET
"""A cost with which a comparison draws the fewest resamples: simulations are many."""


@dataclass(frozen=True)
class Noise:
    """Standard deviations of what a run's number on one picture is made of, beside its arm's mean."""

    picture: float = 0.2
    """Of the picture, the same for all arms."""
    of_arm: float = 0.1
    """Of a picture for an arm."""
    of_run: float = 0.05
    """Of a picture for a run."""
    seed: float = 0.01
    """Of a run on all pictures."""


@dataclass(frozen=True)
class Values:
    """A number a picture; the run's is their mean."""

    values: np.ndarray

    @property
    def pictures(self) -> int:
        return len(self.values)

    @property
    def cost(self) -> int:
        return LOUD

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        return weights @ self.values / len(self.values)


def draw(truth: Truth, pictures: int, noise: Noise, rng: np.random.Generator) -> np.ndarray:
    """(arms, seeds, pictures)."""
    arms, seeds = len(truth.means), truth.seeds
    own = np.array(truth.noise)[:, None, None] / 0.01
    return (
        np.array(truth.means)[:, None, None]
        + rng.normal(0, 0.05, (1, seeds, 1))
        + noise.seed * own * rng.normal(size=(arms, seeds, 1))
        + noise.picture * rng.normal(size=(1, 1, pictures))
        + noise.of_arm * own * rng.normal(size=(arms, 1, pictures))
        + noise.of_run * rng.normal(size=(arms, seeds, pictures))
    )


def compared(truth: Truth, pictures: int, number: int, noise: Noise = Noise(), seed: int = 0) -> Iterator[Target]:
    """Through `compare_runs`; the same records again and again, each time with other numbers."""
    rng, runs = np.random.default_rng(seed), records(truth)
    places = {name(arm): arm for arm in range(len(truth.means))}
    of_run = {path: (places[record.choices["source"]], record.choices["seed"]) for path, record in runs}
    for _ in range(number):
        drawn = draw(truth, pictures, noise, rng)
        for path, record in runs:
            record.metrics["val"] |= {"map": float(drawn[of_run[path]].mean()), "per_class": {}}

        def look(path: Path, *_: object, drawn: np.ndarray = drawn) -> Values:
            return Values(drawn[of_run[path]])

        yield compare_runs(runs, Question(), look).targets[0]


def between(target: Target, arm: int, other: int) -> Difference:
    found = target.family.judge(f"source={name(arm)}", f"source={name(other)}")
    assert found is not None
    return found


def covered(targets: Iterator[Target], difference: float) -> list[bool]:
    """Whether the interval of the second arm beside the first, by itself, holds the true difference."""
    found = (between(target, 1, 0) for target in targets)
    return [one.half is not None and abs(one.mean - difference) <= one.half for one in found]


# ------------------------------------------------------------------------------------------------ of detections


@dataclass(frozen=True)
class Model:
    """How an arm finds: `skill` is the log odds of finding an object, `sharp` how far off its boxes are."""

    skill: float
    off: float = 4.0
    alarms: float = 3.0
    """False ones a picture, of lower scores."""
    of_seed: float = 0.15
    """Deviation of the log odds between seeds."""


def scenes(pictures: int, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Boxes (x, y, w, h), classes, and how much easier than others the picture is."""
    found = []
    for _ in range(pictures):
        count = 1 + rng.poisson(2)
        corners = np.stack([np.arange(count) * 200.0, rng.uniform(0, 50, count)], axis=1)
        found.append((np.hstack([corners, rng.uniform(40, 120, (count, 2))]), rng.integers(0, 2, count), rng.normal()))
    return found


def detected(
    scene: Sequence[tuple[np.ndarray, np.ndarray, float]], model: Model, rng: np.random.Generator
) -> dict[int, ImageResult]:
    shift = rng.normal(0, model.of_seed)
    return {row: _picture(*one, replace(model, skill=model.skill + shift), rng) for row, one in enumerate(scene)}


def _picture(boxes: np.ndarray, labels: np.ndarray, ease: float, model: Model, rng: np.random.Generator) -> ImageResult:
    hit = rng.random(len(labels)) < 1 / (1 + np.exp(-model.skill - ease))
    false = rng.poisson(model.alarms)
    near = boxes[hit] + rng.normal(0, model.off, (int(hit.sum()), 4))
    away = np.hstack([rng.uniform(1000, 1500, (false, 2)), rng.uniform(40, 120, (false, 2))])
    nothing = np.zeros(len(labels), dtype=bool)
    return ImageResult(
        truth_xywh=boxes,
        truth_labels=labels,
        crowd=nothing,
        difficult=nothing,
        area=boxes[:, 2:].prod(axis=1),
        boxes_xywh=np.vstack([near, away]),
        scores=np.concatenate([rng.beta(5, 2, len(near)), rng.beta(2, 4, false)]),
        labels=np.concatenate([labels[hit], rng.integers(0, 2, false)]),
    )


def true_map(model: Model, pictures: int = 4000) -> float:
    """Over many pictures, each seen by a seed of its own."""
    rng = np.random.default_rng(7)
    images = {}
    for row, one in enumerate(scenes(pictures, rng)):
        images[row] = detected([one], model, rng)[0]
    return float(match(images, ("a", "b"), "map", 100).resampled(np.ones((1, pictures), dtype=int))[0])


def compared_detections(
    models: Sequence[Model], seeds: int, pictures: int, number: int, seed: int = 0
) -> Iterator[Target]:
    rng, runs = np.random.default_rng(seed), records(equal(seeds, [0.01] * len(models)))
    places = {name(arm): arm for arm in range(len(models))}
    for _ in range(number):
        scene = scenes(pictures, rng)
        found = {}
        for path, record in runs:
            images = detected(scene, models[places[record.choices["source"]]], rng)
            found[path] = match(images, ("a", "b"), "map", 100)
            value = found[path].resampled(np.ones((1, pictures), dtype=int))[0]
            record.metrics["val"] |= {"map": float(value), "per_class": {}}
        yield compare_runs(runs, Question(), _look(found)).targets[0]


def _look(found: dict[Path, object]) -> Callable[..., object]:
    return lambda path, *_: found[path]
