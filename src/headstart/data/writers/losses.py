"""What the format that is written cannot hold, and what was done about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headstart.data.boxes import box_areas
from headstart.data.types import AnnotatedImage, DetectionData


@dataclass(frozen=True)
class Loss:
    """Of one kind."""

    kind: str
    """`crowd`, `difficult`, `area`, `unused_class`, …"""
    count: int
    what: str
    """For people: `objects marked crowd`."""
    instead: str
    """What was done: `written as ordinary ones`."""


Report = Callable[[Loss], None]


def of_crowd(data: DetectionData, instead: str, report: Report) -> None:
    _of_objects(data, lambda image: image.crowd, "crowd", "objects marked crowd", instead, report)


def of_difficult(data: DetectionData, instead: str, report: Report) -> None:
    _of_objects(data, lambda image: image.difficult, "difficult", "objects marked difficult", instead, report)


def of_area(data: DetectionData, report: Report) -> None:
    what = "objects with an area of their outline"
    _of_objects(data, lambda image: image.area != box_areas(image.boxes_xyxy), "area", what, "that of the box", report)


def used_classes(data: DetectionData) -> set[int]:
    """The labels that occur."""
    return {int(label) for pictures in data.splits.values() for image in pictures for label in np.unique(image.labels)}


def _of_objects(
    data: DetectionData,
    which: Callable[[AnnotatedImage], np.ndarray],
    kind: str,
    what: str,
    instead: str,
    report: Report,
) -> None:
    count = sum(int(which(image).sum()) for pictures in data.splits.values() for image in pictures)
    if count:
        report(Loss(kind, count, what, instead))
