"""Decoded, resized images in memory: read once, before the loader's workers fork and share them."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from headstart.config.schema import Cache
from headstart.data.transforms import resize, resized_hw
from headstart.data.types import AnnotatedImage, Size
from headstart.errors import UserError

LIMIT_BYTES = 1024**3
"""`Cache.auto` keeps a split in memory up to this size."""
_SHOW_PROGRESS_FROM = 200
LARGE_PIXELS = 50_000_000
_ONE_AT_A_TIME = threading.Lock()
"""Of the threads that fill the cache: a picture of more pixels takes several times 150 MB while it is resized."""


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
        raise UserError(
            f"{image.name}: the picture is {_x(picture.size)} now and was {_x(image.size_wh)} when the run began. Put "
            "the one that was there back, and the same command goes on; with another one it says what has changed."
        )
    pixels = np.array(picture)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    return resize(tensor, torch.zeros(0, 4), *size)[0]


def _x(size_wh: tuple[int, int]) -> str:
    return f"{size_wh[0]} x {size_wh[1]}"


def estimated_bytes(images: Sequence[AnnotatedImage], size: Size) -> int:
    """Memory that the resized images take."""
    sizes = (resized_hw((image.size_wh[1], image.size_wh[0]), *size) for image in images)
    return sum(3 * height * width for height, width in sizes)


def fill(images: Sequence[AnnotatedImage], policy: Cache, size: Size, split: str) -> list[Tensor] | None:
    """All images of a split, in order; None where `policy` says to read them anew each time.

    Raises UserError for an unreadable image.
    """
    if policy is Cache.none:
        return None
    if policy is Cache.auto and estimated_bytes(images, size) > LIMIT_BYTES:
        return None
    # Pillow decodes without the interpreter's lock, so threads help; they are gone before any worker forks.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        loaded = pool.map(lambda image: load(image, size), images)
        quiet = len(images) < _SHOW_PROGRESS_FROM
        return list(track(loaded, f"Reading {split} images", total=len(images), disable=quiet, transient=True))
