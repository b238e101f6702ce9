"""Pictures that are read in windows, so that memory does not grow with what a detector makes of them.

JPEG, PNG and their like cannot be read in parts: they are decoded once, as stored, and windows are cut out of that. In
colour that takes 3 bytes a pixel, 1.2 GB for a side of 20,000; of other kinds (transparent, CMYK) as many as Pillow's
pictures have, up to 4: at most 2 GB with the usual limit of 500 million pixels. While it is decoded, a progressive JPEG
takes as much as libjpeg makes of it. Of a TIFF only the windows are read, by rasterio (`headstart[geo]`).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torch.nn import functional

from headstart.config.schema import FileDatasetConfig
from headstart.data.images import FileImage, ImageFacts, header
from headstart.data.opening import UnreadableImage
from headstart.data.pixels import to_rgb, turn
from headstart.data.windows import Stored, Window
from headstart.errors import UserError
from headstart.inference.raster import Raster

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_STRIP_ROWS = 64


class LargePicture(Protocol):
    """Read in windows."""

    @property
    def size_wh(self) -> tuple[int, int]: ...

    def cut(self, window: Window) -> Tensor:
        """(3, h, w) uint8 RGB."""
        ...

    def reduced(self, factor: int) -> Tensor:
        """(3, h, w) uint8 RGB: all of it, a pixel the mean of `factor` x `factor`; what remains at its right and lower
        edge is left out."""
        ...


@dataclass(frozen=True)
class InMemory:
    """(3, H, W) uint8 RGB; windows are views of it."""

    pixels: Tensor

    @property
    def size_wh(self) -> tuple[int, int]:
        return self.pixels.shape[-1], self.pixels.shape[-2]

    def cut(self, window: Window) -> Tensor:
        x1, y1, x2, y2 = window
        return self.pixels[:, y1:y2, x1:x2]

    def reduced(self, factor: int) -> Tensor:
        rows = self.pixels.shape[-2] // factor * factor
        strips = self.pixels[:, :rows].split(factor * _STRIP_ROWS, dim=1)
        means = [functional.avg_pool2d(strip.float(), factor) for strip in strips]
        return torch.cat([mean.round().to(torch.uint8) for mean in means], dim=1)


@dataclass(frozen=True)
class Decoded:
    """Held as stored."""

    stored: Stored

    @property
    def size_wh(self) -> tuple[int, int]:
        return self.stored.size_wh

    def cut(self, window: Window) -> Tensor:
        return _tensor(self.stored.cut(window))

    def reduced(self, factor: int) -> Tensor:
        width, height = (side // factor * factor for side in self.size_wh)
        left, first, right, last = self.stored.stored_window((0, 0, width, height))
        page = PIL.Image.new("RGB", ((right - left) // factor, (last - first) // factor))
        for top in range(first, last, factor * _STRIP_ROWS):
            strip = self.stored.image.crop((left, top, right, min(top + factor * _STRIP_ROWS, last)))
            page.paste(to_rgb(strip).reduce(factor), (0, (top - first) // factor))
        return _tensor(turn(page, self.stored.orientation))


@dataclass(frozen=True)
class _Colours:
    """A `Page` of 3 bytes a pixel; Pillow's own have 4."""

    pixels: np.ndarray
    """(H, W, 3) uint8."""

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[0]

    def crop(self, box: Window) -> PIL.Image.Image:
        x1, y1, x2, y2 = box
        return PIL.Image.fromarray(np.ascontiguousarray(self.pixels[y1:y2, x1:x2]))


def _tensor(image: PIL.Image.Image) -> Tensor:
    """A view of what NumPy holds: of copies, which torch aligns, the heap would keep a growing share."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def open_large(path: Path, max_pixels: float = FileDatasetConfig.max_pixels) -> LargePicture:
    """A file as a picture that is read in windows. Raises `UserError` for one that is none, or too large.

    A TIFF is read by rasterio where that is installed, whatever its size, and as it is stored; else, as any other
    file, it is decoded whole.
    """
    if is_tiff(path) and find_spec("rasterio") is not None:
        return Raster(path)
    try:
        facts = header(path)
    except (UnreadableImage, OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{path}: is no picture that can be read ({error}). Replace or remove it.") from None
    width, height = facts.raw_size_wh
    if width * height > max_pixels:
        remedy = "Install headstart[geo], which reads it in windows" if is_tiff(path) else "Save it as a TIFF"
        raise UserError(
            f"{path}: has {width} x {height} pixels; a file that must be decoded whole may have {max_pixels:,.0f}. "
            f"{remedy}, or divide it."
        )
    colours = _colours(path) if _is_plain(facts) else None
    read = FileImage(path, facts.orientation, max_pixels)
    return Decoded(Stored(colours, facts.orientation) if colours else Stored.of(read))


def _is_plain(facts: ImageFacts) -> bool:
    """Whether torchvision decodes it as Pillow does, bit for bit."""
    return facts.format in ("JPEG", "PNG") and facts.mode == "RGB" and not (facts.transparent or facts.sixteen_bit)


def _colours(path: Path) -> _Colours | None:
    """None where torchvision does not take it: Pillow does, or says what is wrong with it."""
    from torchvision.io import ImageReadMode, decode_image

    try:
        pixels = decode_image(torch.from_numpy(np.fromfile(path, dtype=np.uint8)), ImageReadMode.RGB)
    except RuntimeError:
        return None
    return _Colours(pixels.permute(1, 2, 0).numpy())


def is_tiff(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) in _TIFF
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from None
