"""Pictures as a page shows them: the picture once, and boxes over it as lines that stay sharp at any size."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

COLOURS = 8
"""Of the page's style, by class, in order, then again."""
MOST_CAPTIONS = 25
"""Of one side; of more, what a box is shows when it is pointed at."""


@dataclass(frozen=True)
class Box:
    """In the picture's pixels."""

    x: float
    y: float
    width: float
    height: float
    colour: int
    text: str
    kind: str
    """`right`, `wrong` (also: missed), `excused`, or `` for what is not judged."""


@dataclass(frozen=True)
class Side:
    """One view of the picture."""

    title: str
    boxes: Sequence[Box]

    @property
    def captions(self) -> bool:
        return len(self.boxes) <= MOST_CAPTIONS


@dataclass(frozen=True)
class Picture:
    """What is shown of one, side by side."""

    name: str
    """Of the element in the page: letters and digits."""
    title: str
    width: int
    height: int
    jpeg: bytes
    sides: Sequence[Side]

    @property
    def address(self) -> str:
        return f"data:image/jpeg;base64,{base64.b64encode(self.jpeg).decode()}"

    @property
    def letter(self) -> float:
        """Height of a caption, in the picture's pixels."""
        return round(self.width / 26, 1)


def box(xyxy: Sequence[float], label: int, text: str, right: bool | None) -> Box:
    x1, y1, x2, y2 = xyxy
    kind = "excused" if right is None else "right" if right else "wrong"
    return Box(x1, y1, round(x2 - x1, 1), round(y2 - y1, 1), label % COLOURS, text, kind)
