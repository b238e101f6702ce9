"""What an annotation file says, before any picture is looked at."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.config.kinds import Action
from headstart.data import splits
from headstart.data.policy import Policy
from headstart.data.readers.units import Form


class Malformed(Exception):
    """What stands in a file at one place and cannot be read; the text says why."""


@dataclass(slots=True)
class RawImage:
    """One image as its annotation file describes it. There may be a million objects: numbers are in arrays."""

    path: Path
    where: str
    """The annotation file, for messages."""
    size_wh: tuple[int, int] | None = None
    """As the annotation file has it; None where it does not say."""
    depth: int | None = None
    """Channels, as the annotation file has it; None where it does not say."""
    normalised: bool = False
    """Whether boxes are shares of width and height; else they are in pixels."""
    left_out: bool = False
    """Whether it is not to be used, for what is wrong with it."""
    classes: list[str] = field(default_factory=list)
    places: Sequence[str] = field(default_factory=list)
    """For messages: `object 3`, `line 7`. A list, where objects are added one by one."""
    corners: array[float] = field(default_factory=lambda: array("d"))
    """Four of each object."""
    crowd: bytearray = field(default_factory=bytearray)
    difficult: bytearray = field(default_factory=bytearray)
    areas: array[float] = field(default_factory=lambda: array("d"))
    """Square pixels of the objects' outlines; NaN where the file does not say."""

    def add(
        self,
        box_xyxy: tuple[float, float, float, float],
        name: str,
        place: str,
        crowd: bool = False,
        difficult: bool = False,
        area: float | None = None,
    ) -> None:
        """`box_xyxy`: 0-based corners as written."""
        assert isinstance(self.places, list)
        self.corners.extend(box_xyxy)
        self.classes.append(name)
        self.places.append(place)
        self.crowd.append(crowd)
        self.difficult.append(difficult)
        self.areas.append(math.nan if area is None else area)

    @property
    def boxes_xyxy(self) -> list[tuple[float, ...]]:
        return [tuple(self.corners[start : start + 4]) for start in range(0, len(self.corners), 4)]

    def take(self, action: Action) -> Action:
        """`action`, which was decided on for something in it."""
        self.left_out |= action is Action.skip_image
        return action

    def objects(self) -> list[tuple[Any, ...]]:
        """All that is said of each, but where."""
        areas = [None if math.isnan(area) else area for area in self.areas]
        return [*zip(self.boxes_xyxy, self.classes, self.crowd, self.difficult, areas, strict=True)]


@dataclass
class RawData:
    """What a reader found: the images of the splits in use (`train` always) and the classes in their order."""

    chosen: splits.Chosen
    splits: dict[str, list[RawImage]] = field(default_factory=dict)
    class_names: list[str] = field(default_factory=list)
    policy: Policy = field(default_factory=Policy)
    """What is done about defects; those found so far are in it."""
    form: Form = Form.corners
    """What the four numbers of a box are in the files."""
    broken: set[str] = field(default_factory=set)
    """Annotation files that describe nothing, for what is wrong with them; relative to the data set's folder."""
