"""Windows of pictures: a picture is decoded once, and its windows are cut out of what was decoded.

What is held is the picture as stored: turning it upright and making it RGB is done to each window, for either would
take the memory of another whole picture or two.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import PIL.Image

from headstart.data.images import FileImage, digest_of
from headstart.data.pixels import to_rgb, turn
from headstart.errors import UserError

Read = Callable[[], PIL.Image.Image]
"""As `AnnotatedImage.read`."""
Window = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels of the upright picture."""


class Page(Protocol):
    """What is asked of a decoded picture; Pillow's are such."""

    @property
    def size(self) -> tuple[int, int]: ...

    def crop(self, box: Window, /) -> PIL.Image.Image: ...


@dataclass(frozen=True)
class Stored:
    """A decoded picture, and how it is turned upright."""

    image: Page
    orientation: int = 1
    """EXIF's."""

    @staticmethod
    def of(read: Read) -> Stored:
        """Raises `UserError` where it cannot be decoded."""
        return Stored(read.stored(), read.orientation) if isinstance(read, FileImage) else Stored(read())

    @property
    def size_wh(self) -> tuple[int, int]:
        """Upright."""
        width, height = self.image.size
        return (height, width) if self.orientation >= 5 else (width, height)

    def cut(self, window: Window) -> PIL.Image.Image:
        """Upright, in mode RGB."""
        return to_rgb(turn(self.image.crop(self.stored_window(window)), self.orientation))

    def stored_window(self, window: Window) -> Window:
        """Where a window of the upright picture lies in the stored one (TIFF 6.0, tag 274)."""
        x1, y1, x2, y2 = window
        if self.orientation >= 5:
            x1, y1, x2, y2 = y1, x1, y2, x2
        width, height = self.image.size
        if self.orientation in (2, 3, 7, 8):
            x1, x2 = width - x2, width - x1
        if self.orientation in (3, 4, 6, 7):
            y1, y2 = height - y2, height - y1
        return x1, y1, x2, y2


class _Last:
    """The picture that was decoded last, for all threads: windows of one are asked for one after another."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.key: object = None
        self.stored: Stored | None = None

    def get(self, read: Read, digest: str) -> Stored:
        with self.lock:
            if self.stored is None or self.key != (read, digest):
                self.forget()  # before the next takes as much memory
                stored = Stored.of(read)
                if isinstance(read, FileImage) and digest not in ("", digest_of(read.path)):
                    raise another(str(read.path), "another one now than when the run began")
                self.key, self.stored = (read, digest), stored
            return self.stored

    def forget(self) -> None:
        self.key = self.stored = None


_last = _Last()
forget = _last.forget
"""What is held of the picture whose windows were read last."""


@dataclass(frozen=True)
class WindowOf:
    """Reads a window of a picture: the `AnnotatedImage.read` of a tile."""

    read: Read
    window: Window
    digest: str = ""
    """The picture's; empty: not known."""

    def __call__(self) -> PIL.Image.Image:
        """As `FileImage.__call__`; raises `UserError` also for another picture than that of the digest."""
        return _last.get(self.read, self.digest).cut(self.window)


def another(name: str, what: str) -> UserError:
    """Of a picture that is not the one that was there."""
    return UserError(
        f"{name}: the picture is {what}. Put the one that was there back, and the same command goes on; with "
        "another one it says what has changed."
    )
