"""Pictures of files, read ahead in threads, so many at a time as memory is set aside for."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from headstart.data.images import TooManyPixels, UnreadableImage, inspect, stored_size_wh
from headstart.inference.given import Given, read
from headstart.predict.inputs import Item

AHEAD_PIXELS = 48_000_000
"""Of pictures that are read and not looked at yet, 3 bytes each; a larger picture is read alone."""
AHEAD = 64
"""Such pictures, at most."""


@dataclass
class Read:
    """Pictures that were read, and why others were not."""

    pictures: list[tuple[Item, Given]] = field(default_factory=list)
    failed: list[tuple[Item, str]] = field(default_factory=list)

    @property
    def pixels(self) -> int:
        return sum(given.pixels.shape[-1] * given.pixels.shape[-2] for _, given in self.pictures)


def batches(items: Sequence[Item], size: int, max_pixels: float) -> Iterator[Read]:
    """In order; whoever takes one lets go of it before the next, for then the memory is needed."""
    part = Read()
    for item, given in _ahead(items, max_pixels):
        if isinstance(given, Given):
            part.pictures.append((item, given))
        else:
            part.failed.append((item, given))
        del given
        if len(part.pictures) >= size or part.pixels >= AHEAD_PIXELS:
            yield part
            part = Read()
    if part.pictures or part.failed:
        yield part


def _ahead(items: Sequence[Item], max_pixels: float) -> Iterator[tuple[Item, Given | str]]:
    waiting: deque[tuple[Item, int, Future[Given | str]]] = deque()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for item in items:
            pixels = claimed(item)
            while waiting and (len(waiting) >= AHEAD or sum(w[1] for w in waiting) + pixels > AHEAD_PIXELS):
                first = waiting.popleft()
                yield first[0], first[2].result()
                del first
            waiting.append((item, pixels, pool.submit(_read, item, max_pixels)))
        while waiting:
            item, _, future = waiting.popleft()
            yield item, future.result()
            del future


def claimed(item: Item) -> int:
    """Pixels, as its header says; 0: it says nothing."""
    with suppress(UnreadableImage):
        width, height = stored_size_wh(item.path)
        return width * height
    return 0


def _read(item: Item, max_pixels: float) -> Given | str:
    """Or why it cannot be read."""
    try:
        return read(item.path, inspect(item.path, max_pixels), max_pixels)
    except TooManyPixels:
        return f"it claims more than max_pixels={max_pixels:g} pixels; raise that if it is a picture"
    except UnreadableImage as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)
    except MemoryError:
        return "there is not memory enough for it"
