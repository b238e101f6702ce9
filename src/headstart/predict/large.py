"""Pictures too large to be held as a network takes them: read in windows, each looked at alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import PIL.Image

from headstart.errors import UserError
from headstart.inference.found import found_in
from headstart.inference.given import picture_of
from headstart.inference.large import LargePicture, is_tiff, open_large
from headstart.inference.model import Model
from headstart.inference.raster import Raster
from headstart.inference.tiled import find_in
from headstart.predict.inputs import Item
from headstart.predict.looking import DRAWN_SIDE
from headstart.predict.reading import AHEAD_PIXELS, claimed
from headstart.predict.writing import Entry, Put


def is_large(item: Item) -> bool:
    """Or lies on a map, which only what reads windows knows of."""
    with suppress(UserError):  # the reader of all others says what is wrong with it
        return claimed(item) > AHEAD_PIXELS or _lies_on_a_map(item.path)
    return False


def _lies_on_a_map(path: Path) -> bool:
    return is_tiff(path) and find_spec("rasterio") is not None and Raster(path).facts.crs is not None


def look_at_large(
    item: Item, model: Model, least: Mapping[str, float], max_pixels: float, draws: bool, put: Put
) -> Iterator[str]:
    """Why it was not looked at."""
    try:
        picture = open_large(item.path, max_pixels)
        prediction = find_in(picture, model.find, model.tile)
    except UserError as error:
        yield str(error).removeprefix(f"{item.path}: ")
        return
    except (OSError, MemoryError) as error:
        yield str(error) or "there is not memory enough for it"
        return
    found = found_in(prediction, model.class_names, least, picture.size_wh, lambda: _shown(picture))
    on_map = picture if isinstance(picture, Raster) and picture.facts.crs else None
    put(Entry(item.name, found, shown=_shown(picture) if draws else None, on_map=on_map))


def _shown(picture: LargePicture) -> PIL.Image.Image:
    return picture_of(picture.reduced(-(-max(picture.size_wh) // DRAWN_SIDE)))
