"""Label efficiency: the metric against the number of labelled images, and what a source saves of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from headstart.reporting.arms import Arm, name_of
from headstart.reporting.baseline import is_scratch
from headstart.reporting.pictures import NO_PICTURES, Pictures
from headstart.reporting.statistics import interval_95, mean

BUDGETS = ("dataset.fraction", "dataset.shots", "dataset.num_train")
"""Labels that say how many images are trained on."""


@dataclass(frozen=True)
class Point:
    images: float
    """Labelled training images, mean over the seeds."""
    mean: float
    half: float | None
    arm: Arm


@dataclass(frozen=True)
class Curve:
    """One way of doing it, with more and more labels."""

    labels: dict[str, str]
    points: tuple[Point, ...]
    """By number of images."""
    scratch: bool

    @property
    def name(self) -> str:
        return name_of(self.labels)


@dataclass(frozen=True)
class Saving:
    """What `curve` needs to equal what `reference` has with all of its labels."""

    curve: Curve
    reference: Curve
    goal: float
    """The reference's metric with most labels."""
    images: float | None
    """That `curve` needs; None where it never gets there."""
    at_most: bool
    """It has reached the goal with the fewest labels tried: it may need less still."""
    low: float | None = None
    """`images` where the upper end of the curve's band reaches the goal …"""
    high: float | None = None
    """… and where the lower end does; None where it never does, or where there is no band."""

    @property
    def saved(self) -> float | None:
        """Share of the reference's labels."""
        return None if self.images is None else 1 - self.images / self.reference.points[-1].images


def images_of(arm: Arm) -> float:
    """Labelled training images, mean over the runs; NaN where the record does not say."""
    counts = [(record.dataset.get("num_images") or {}).get("train") for record in arm.records]
    return mean([count for count in counts if count is not None])


def most_labels(arms: Sequence[Arm]) -> list[Arm]:
    """Those arms that no other one outdoes in labels alone: with these, ways of doing it are compared fairly."""
    most = max((images for arm in arms if not math.isnan(images := images_of(arm))), default=math.nan)
    return [arm for arm in arms if math.isnan(most) or images_of(arm) == most]


def curves(arms: Sequence[Arm], metric: str, split: str, pictures: Pictures = NO_PICTURES) -> list[Curve]:
    """A curve per way of doing it that was measured with two numbers of images or more."""
    groups: dict[tuple[tuple[str, str], ...], list[Point]] = {}
    for arm in arms:
        values = list(arm.by_seed(metric, split).values())
        rest = tuple((name, value) for name, value in arm.labels.items() if name not in BUDGETS)
        if values and not math.isnan(images_of(arm)):
            half = interval_95(values, pictures.part(arm.title))
            groups.setdefault(rest, []).append(Point(images_of(arm), mean(values), half, arm))
    return [
        Curve(dict(rest), tuple(sorted(points, key=lambda p: p.images)), all(is_scratch(p.arm) for p in points))
        for rest, points in groups.items()
        if len({point.images for point in points}) > 1
    ]


def savings(found: Sequence[Curve]) -> list[Saving]:
    """Of each transferring curve against the best curve from scratch."""
    scratch = [curve for curve in found if curve.scratch]
    if not scratch:
        return []
    reference = max(scratch, key=lambda curve: curve.points[-1].mean)
    return [saving(curve, reference) for curve in found if not curve.scratch]


def saving(curve: Curve, reference: Curve) -> Saving:
    goal = reference.points[-1].mean
    images = crossing([(p.images, p.mean) for p in curve.points], goal)
    banded = all(p.half is not None for p in curve.points)
    low = crossing([(p.images, p.mean + (p.half or 0)) for p in curve.points], goal) if banded else None
    high = crossing([(p.images, p.mean - (p.half or 0)) for p in curve.points], goal) if banded else None
    return Saving(curve, reference, goal, images, images == curve.points[0].images, low, high)


def crossing(points: Sequence[tuple[float, float]], goal: float) -> float | None:
    """The smallest x at which the line through `points` reaches `goal`; straight against the logarithm of x."""
    if points[0][1] >= goal:
        return points[0][0]
    for (left, low), (right, high) in pairwise(points):
        if high >= goal:
            share = (goal - low) / (high - low)
            return math.exp(math.log(left) + share * (math.log(right) - math.log(left)))
    return None
