"""TIFF and GeoTIFF in windows, and where on the map they lie; needs `headstart[geo]`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.data.windows import Window
from headstart.errors import UserError

_CACHE_MB = 64
"""Of blocks that GDAL holds; left to itself it takes a twentieth of the machine's memory."""


@dataclass(frozen=True)
class Facts:
    """Of a raster, without its pixels."""

    size_wh: tuple[int, int]
    bands: tuple[int, ...]
    """Numbers, from 1: those of red, green and blue, or of grey."""
    shift: int
    """Bits that are cut off at the lower end: 8 of 16."""
    palette: np.ndarray | None
    """(256, 3) uint8."""
    transform: tuple[float, ...]
    """Six numbers a, b, c, d, e, f: x = a column + b row + c, y = d column + e row + f."""
    crs: str | None
    """Of these coordinates; None: it lies nowhere on a map."""


@dataclass(frozen=True)
class Raster:
    """A `LargePicture` of which only the windows that are asked for are read.

    The first three bands are red, green and blue, and the first of one or two is grey; of 16 bits the upper 8 count.
    """

    path: Path

    @property
    def size_wh(self) -> tuple[int, int]:
        return self.facts.size_wh

    @cached_property
    def facts(self) -> Facts:
        """Raises `UserError` where it cannot be read as a picture."""
        with _opened(self.path) as file:
            if len(kinds := set(file.dtypes)) != 1 or not kinds <= {"uint8", "uint16"}:
                raise UserError(
                    f"{self.path}: its pixels are {', '.join(sorted(kinds))}; store them as uint8 or uint16."
                )
            return Facts(
                (file.width, file.height),
                (1, 2, 3) if file.count >= 3 else (1,),
                8 if "uint16" in kinds else 0,
                _palette(file),
                tuple(file.transform)[:6],
                _name(file.crs) if file.crs else None,
            )

    def cut(self, window: Window) -> Tensor:
        """As `LargePicture`; raises `UserError` where the file is damaged there."""
        return self._read(window, (window[2] - window[0], window[3] - window[1]))

    def reduced(self, factor: int) -> Tensor:
        """As `LargePicture`, from the file's own overviews where it has any."""
        shown = (self.size_wh[0] // factor, self.size_wh[1] // factor)
        return self._read((0, 0, shown[0] * factor, shown[1] * factor), shown)

    def _read(self, window: Window, shown_wh: tuple[int, int]) -> Tensor:
        from rasterio.enums import Resampling
        from rasterio.windows import Window as Part

        facts, (x1, y1, x2, y2) = self.facts, window
        shape = (len(facts.bands), shown_wh[1], shown_wh[0])
        how = Resampling.average if facts.palette is None else Resampling.nearest  # a mean of numbers is no colour
        part: Any = Part(x1, y1, x2 - x1, y2 - y1)  # pyright: ignore[reportCallIssue]
        with _opened(self.path) as file:
            pixels = file.read(list(facts.bands), window=part, out_shape=shape, resampling=how)
        found = (pixels >> facts.shift).astype(np.uint8) if facts.shift else pixels
        if facts.palette is not None:
            found = facts.palette[found[0]].transpose(2, 0, 1)
        return torch.from_numpy(found if len(found) == 3 else np.repeat(found, 3, axis=0)).contiguous()

    def on_map(self, points_xy: np.ndarray) -> np.ndarray:
        """(N, 2) points in pixels, from the upper left corner, as map coordinates. Raises `UserError` where it has
        none."""
        a, b, c, d, e, f = self.facts.transform
        if self.facts.crs is None or not all(map(math.isfinite, self.facts.transform)):
            raise UserError(f"{self.path}: says nothing of where it lies on a map, as a GeoTIFF does.")
        return points_xy @ np.array([[a, d], [b, e]]) + np.array([c, f])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():  # that a plain TIFF lies nowhere is said where it matters
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB), rasterio.open(path, driver="GTiff") as file:
                yield file
    except RasterioError as error:
        raise UserError(f"{path}: cannot be read ({error}). Replace or remove it.") from error


def _palette(file: Any) -> np.ndarray | None:
    from rasterio.enums import ColorInterp

    if file.count != 1 or file.colorinterp[0] is not ColorInterp.palette:
        return None
    colours = file.colormap(1)
    return np.array([colours.get(number, (0, 0, 0))[:3] for number in range(256)], dtype=np.uint8)


def _name(crs: Any) -> str:
    """`urn:ogc:def:crs:EPSG::32617` where it has a number, else whatever it says of itself."""
    number = crs.to_epsg()
    return f"urn:ogc:def:crs:EPSG::{number}" if number else crs.to_wkt()
