"""Images as a detector gets them: decoded and resized."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from headstart.data.images import FileImage, digest_of
from headstart.data.transforms import resize
from headstart.data.types import AnnotatedImage, Size
from headstart.data.windows import another, forget
from headstart.errors import UserError

_SHOW_PROGRESS_FROM = 200
LARGE_PIXELS = 50_000_000
_ONE_AT_A_TIME = threading.Lock()
"""Of the threads that fill a cache: a picture of more pixels takes several times 150 MB while it is resized."""


def load(image: AnnotatedImage, size: Size) -> Tensor:
    """The image (3, h, w) uint8, resized. Raises UserError, naming the image, where it cannot be read."""
    try:
        with _ONE_AT_A_TIME if image.size_wh[0] * image.size_wh[1] > LARGE_PIXELS else nullcontext():
            return _load(image, size)
    except OSError as error:
        raise UserError(f"{image.name}: the image cannot be read ({error}). Replace or remove it.") from error


def _load(image: AnnotatedImage, size: Size) -> Tensor:
    picture = image.read()
    if picture.size != image.size_wh:
        raise another(image.name, f"{_x(picture.size)} now and was {_x(image.size_wh)} when the run began")
    if isinstance(image.read, FileImage) and image.digest not in ("", digest_of(image.read.path)):
        raise another(image.name, "another one now than when the run began")
    pixels = np.array(picture)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    return resize(tensor, *size)


def _x(size_wh: tuple[int, int]) -> str:
    return f"{size_wh[0]} x {size_wh[1]}"


def read_all(images: Sequence[AnnotatedImage], size: Size, split: str, take: Callable[[int, Tensor], None]) -> None:
    """Every image, in whatever order: `take` is told its number and its pixels, in one of several threads.

    Raises UserError for an unreadable image.
    """

    def read(number: int) -> None:
        take(number, load(images[number], size))

    # Pillow decodes without the interpreter's lock, so threads help; they are gone before any worker forks.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        quiet = len(images) < _SHOW_PROGRESS_FROM
        done = pool.map(read, range(len(images)))
        for _ in track(done, f"Reading {split} images", total=len(images), disable=quiet, transient=True):
            pass
    forget()
