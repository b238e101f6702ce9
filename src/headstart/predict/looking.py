"""What a model finds in the pictures that were read, and in a video frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import PIL.Image
from torchvision.transforms.v2.functional import resize

from headstart.inference.found import Found
from headstart.inference.given import Given, picture_of
from headstart.predict import video
from headstart.predict.inputs import Item
from headstart.predict.writing import Entry, Put, made

DRAWN_SIDE = 3840
"""Pixels of the long side of a drawn picture, at most."""
Look = Callable[[Sequence[Given]], list[Found]]


def look(pictures: Sequence[tuple[Item, Given]], find: Look, draws: bool, put: Put) -> None:
    found = find([given for _, given in pictures])
    for (item, given), one in zip(pictures, found, strict=True):
        put(Entry(item.name, one, shown=shown(given) if draws else None))


def shown(given: Given) -> PIL.Image.Image:
    """The picture to draw on: of at most `DRAWN_SIDE` pixels a side."""
    width, height = given.size_wh
    factor = min(1.0, DRAWN_SIDE / max(width, height))
    sides = [max(1, round(height * factor)), max(1, round(width * factor))]
    pixels = given.pixels if factor == 1 else resize(given.pixels, sides, antialias=True)
    return picture_of(pixels)


def watch(item: Item, find: Look, batch_size: int, drawn: Path | None, put: Put) -> Iterator[str]:
    """Frame by frame; why it was not looked at, or not to its end: what comes before is kept."""
    if not video.can_be_read():
        yield video.NEEDS
        return
    try:
        with video.drawn_video(made(drawn), item.path) if drawn else nullcontext() as draw:
            for part in video.parts(item.path, batch_size):
                for frame, found in zip(part, find([frame.given for frame in part]), strict=True):
                    put(Entry(f"{item.name}/{frame.number:06d}", found, frame.number, frame.seconds))
                    if draw is not None:
                        draw(frame, found)
    except video.Broken as error:
        yield str(error)
