"""What is strange about a picture: told from its header alone, or by decoding it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import PIL.Image

from headstart.data.images import SUFFIXES, ImageFacts, UnreadableImage, upright_size


class UndecodableImage(UnreadableImage):
    """Begins and ends as an image does, and is broken between."""

    kind = "undecodable_image"


LARGE = 100e6
"""Pixels: the largest photos of cameras have as many."""
EXTREME = 10
"""Long side by short side: a panorama has 4; of more, resizing leaves no object."""

_JPEG = frozenset({".jpg", ".jpeg", ".jfif"})
_SUFFIXES_OF = {
    "JPEG": _JPEG,
    "MPO": _JPEG,
    "PNG": frozenset({".png"}),
    "BMP": frozenset({".bmp"}),
    "WEBP": frozenset({".webp"}),
    "TIFF": frozenset({".tif", ".tiff"}),
    "GIF": frozenset({".gif"}),
}
_MODES = {"1": "greyscale", "L": "greyscale", "LA": "greyscale", "P": "palette", "PA": "palette", "CMYK": "cmyk"}


def odd(
    facts: ImageFacts, name: str, annotated_size_wh: tuple[int, int] | None, annotated_depth: int | None = None
) -> Iterator[tuple[str, str]]:
    """(kind, what was seen) of all that the header tells of the picture called `name`."""
    width, height = facts.raw_size_wh
    if width * height > LARGE:
        yield "large_image", f"{width}x{height}"
    if max(width, height) >= EXTREME * min(width, height):
        yield "extreme_aspect", f"{width}x{height}"
    suffix = os.path.splitext(name)[1].lower()
    if suffix in SUFFIXES and suffix not in _SUFFIXES_OF.get(facts.format, ()):
        yield "lying_suffix", f"is {facts.format}"
    channels = PIL.Image.getmodebands(facts.mode)
    if annotated_depth not in (None, channels):
        yield "wrong_depth", f"{annotated_depth} in the annotation, {channels} in the picture (mode {facts.mode})"
    yield from _colours(facts)
    yield from _orientation(facts, annotated_size_wh)


def _colours(facts: ImageFacts) -> Iterator[tuple[str, str]]:
    kind = _MODES.get(facts.mode)
    mode = f"mode {facts.mode}"
    clear = f"{mode} with transparent pixels" if facts.transparent else mode
    if kind:
        yield kind, clear
    elif facts.transparent:
        yield "transparent", mode
    if facts.sixteen_bit:
        yield "sixteen_bit", mode


def _orientation(facts: ImageFacts, annotated_size_wh: tuple[int, int] | None) -> Iterator[tuple[str, str]]:
    stated, raw = facts.stated_orientation, facts.raw_size_wh
    if not 1 <= stated <= 8:
        yield "exif_invalid", f"orientation {stated}"
    if facts.orientation == 1:
        return
    turned = upright_size(raw, facts.orientation)
    if raw == turned or annotated_size_wh not in (raw, turned):
        yield "exif_doubt", f"orientation {stated}, {_by(raw)} as stored"
    else:
        kind = "exif_raw" if annotated_size_wh == raw else "exif_turned"
        yield kind, f"orientation {stated}, {_by(raw)} as stored, {_by(annotated_size_wh)} in the annotation"


def _by(size_wh: tuple[int, int] | None) -> str:
    return "x".join(map(str, size_wh or ()))


def decoded(read: Callable[[], PIL.Image.Image]) -> PIL.Image.Image:
    """The picture that `read` gives, as training gets it. Raises UndecodableImage where it does not."""
    try:
        return read()
    except Exception as error:
        raise UndecodableImage(str(error.__cause__ or error)) from error
