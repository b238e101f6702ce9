"""What an annotation file says, before any picture is looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.config.kinds import Action
from headstart.data import splits
from headstart.data.policy import Policy
from headstart.data.readers.units import Form


class Malformed(Exception):
    """What stands in a file at one place and cannot be read; the text says why."""


@dataclass
class RawImage:
    """One image as its annotation file describes it."""

    path: Path
    where: str
    """The annotation file, for messages."""
    boxes_xyxy: list[tuple[float, float, float, float]] = field(default_factory=list)
    """0-based corners as written: in pixels, or shares of width and height where `normalised`."""
    classes: list[str] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)
    difficult: list[bool] = field(default_factory=list)
    areas: list[float | None] = field(default_factory=list)
    """Square pixels of the objects' outlines; None where the file does not say."""
    places: list[str] = field(default_factory=list)
    """For messages: `object 3`, `line 7`."""
    size_wh: tuple[int, int] | None = None
    """As the annotation file has it; None where it does not say."""
    normalised: bool = False
    left_out: bool = False
    """Whether it is not to be used, for what is wrong with it."""

    def add(
        self,
        box_xyxy: tuple[float, float, float, float],
        name: str,
        place: str,
        crowd: bool = False,
        difficult: bool = False,
        area: float | None = None,
    ) -> None:
        self.boxes_xyxy.append(box_xyxy)
        self.classes.append(name)
        self.places.append(place)
        self.crowd.append(crowd)
        self.difficult.append(difficult)
        self.areas.append(area)

    def take(self, action: Action) -> Action:
        """`action`, which was decided on for something in it."""
        self.left_out |= action is Action.skip_image
        return action

    def objects(self) -> list[tuple[Any, ...]]:
        """All that is said of each, but where."""
        return [*zip(self.boxes_xyxy, self.classes, self.crowd, self.difficult, self.areas, strict=True)]


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
