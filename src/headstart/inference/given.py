"""Pictures as users give them -> uint8 RGB tensors; nothing is downloaded, and nothing guessed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from headstart.config.schema import FileDatasetConfig
from headstart.data.images import FileImage, ImageFacts, UnreadableImage, inspect
from headstart.data.pictures import decoded
from headstart.data.pixels import to_rgb
from headstart.errors import UserError

ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:/")
STRIP = 512
"""Rows that are copied at a time: Pillow's copy of a whole picture would take its memory twice more."""


@dataclass(frozen=True, eq=False)
class Given:
    """A picture that was read."""

    pixels: Tensor
    """(3, H, W) uint8 RGB, upright."""
    again: Callable[[], PIL.Image.Image]
    """Gives it once more, as `Found.picture`."""

    @property
    def size_wh(self) -> tuple[int, int]:
        return self.pixels.shape[-1], self.pixels.shape[-2]


def taken(image: Any) -> Given:
    """Of a path, PIL image, array or tensor. Raises `UserError` naming what is wrong, and the remedy."""
    if isinstance(image, str | Path):
        return _of_file(image)
    if isinstance(image, PIL.Image.Image):
        return Given(pixels_of(to_rgb(image)), partial(to_rgb, image))
    if isinstance(image, np.ndarray):
        _check(image, image.shape[-1:], "(height, width, 3)", "an array")
        return Given(
            torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1), partial(PIL.Image.fromarray, image)
        )
    if isinstance(image, Tensor):
        _check(image, tuple(image.shape[:1]), "(3, height, width)", "a tensor")
        return Given(image, partial(picture_of, image))
    raise UserError(
        f"a picture is a path, a PIL image, an array or a tensor, and not a {type(image).__name__}: {image!s:.60}"
    )


def _of_file(path: str | Path) -> Given:
    if ADDRESS.match(str(path)):
        raise UserError(f"{path} is an address, and nothing is downloaded: save the picture first, and name the file.")
    file = Path(path).expanduser()
    try:
        return read(file, inspect(file))
    except UnreadableImage as error:
        raise UserError(f"{file}: the picture cannot be read ({error}).") from None
    except OSError as error:
        raise UserError(f"{file}: the picture cannot be read ({error.strerror}).") from None


def read(path: Path, facts: ImageFacts, max_pixels: float = FileDatasetConfig.max_pixels) -> Given:
    """Of a file that was inspected, upright. Raises `UnreadableImage` where it cannot be decoded."""
    again = FileImage(path, facts.orientation, max_pixels)
    return Given(pixels_of(decoded(again)), again)


def pixels_of(picture: PIL.Image.Image) -> Tensor:
    """(3, H, W) uint8 of one in mode RGB; the memory of an (H, W, 3) array."""
    width, height = picture.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, STRIP):
        bottom = min(top + STRIP, height)
        pixels[top:bottom] = np.asarray(picture.crop((0, top, width, bottom)))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def picture_of(pixels: Tensor) -> PIL.Image.Image:
    """Of (3, H, W) uint8 RGB."""
    return PIL.Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())


def _check(image: Any, channels: tuple[int, ...], shape: str, what: str) -> None:
    if image.ndim != 3 or channels != (3,) or 0 in image.shape:
        hint = ": give a list of pictures, list(batch)" if image.ndim == 4 else ""
        raise UserError(f"{what} has to be {shape}, RGB, and is {tuple(image.shape)}{hint}.")
    if image.dtype not in (np.uint8, torch.uint8):
        raise UserError(f"{what} has to be uint8, 0 to 255, and is {image.dtype}: (255 * x).round() of 0 to 1 is.")
