"""Files of strangers as pictures that are not decoded yet."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO

import PIL.Image

FORMATS = ("JPEG", "MPO", "PNG", "BMP", "DIB", "WEBP", "TIFF", "GIF", "JPEG2000", "PPM", "AVIF")
"""What Pillow may take a file for, whatever its suffix. Not all that it can: for EPS, say, it starts Ghostscript, which
runs the program that such a picture is."""


class UnreadableImage(Exception):
    """The file is not an image, or not a whole one; the text says why."""

    kind = "unreadable_image"


class TooManyPixels(UnreadableImage):
    """It claims more than `dataset.max_pixels`."""

    kind = "too_many_pixels"


class _Limit:
    """Pillow's own limit (Image.MAX_IMAGE_PIXELS), off while files are opened whose size is looked at here: aerial
    photos are larger. It is one for all threads, so the last one puts it back."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.kept: int | None = None

    def __enter__(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.kept, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, None
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                PIL.Image.MAX_IMAGE_PIXELS = self.kept


_limit = _Limit()


@contextmanager
def opened(file: Path | BinaryIO, max_pixels: float) -> Iterator[PIL.Image.Image]:
    """The image, not decoded yet. Raises `TooManyPixels` for one that claims more than `max_pixels`: before memory is
    taken for it."""
    with _limit, PIL.Image.open(file, formats=known_formats()) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise TooManyPixels(
                f"it claims {width} x {height} pixels, more than dataset.max_pixels={max_pixels:g}; raise that if it "
                "is a picture"
            )
        yield image


@cache
def known_formats() -> tuple[str, ...]:
    """Of `FORMATS` those that this Pillow was built with."""
    PIL.Image.init()
    return tuple(name for name in FORMATS if name in PIL.Image.OPEN)
