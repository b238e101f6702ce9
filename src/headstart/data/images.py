"""Image files: what can be learned from them without decoding, and how they are read."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import PIL.Image

from headstart.config.schema import FileDatasetConfig
from headstart.data.opening import TooManyPixels, UnreadableImage, opened
from headstart.data.pixels import TRANSPOSE, is_sixteen_bit, to_rgb, turn
from headstart.errors import UserError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".jfif"})

_ENDS_READ = 64 * 1024
_BLOCK = 1024 * 1024
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class ImageFacts:
    """What is known of an image file before it is decoded."""

    raw_size_wh: tuple[int, int]
    """As stored, before any EXIF orientation."""
    orientation: int
    """EXIF value 2 … 8; 1: upright, or no valid value."""
    digest: str
    """Of the whole file: a picture that was changed is another one, wherever in it."""
    format: str = ""
    """`JPEG`, `PNG`, …, told from the bytes."""
    mode: str = "RGB"
    """Pillow's, as stored: `L`, `P`, `RGBA`, `CMYK`, …"""
    transparent: bool = False
    sixteen_bit: bool = False
    stated_orientation: int = 1
    """The EXIF value as written, which may be no valid one."""


@dataclass(frozen=True)
class FileImage:
    """Reads one file; the `AnnotatedImage.read` of every data set in files."""

    path: Path
    orientation: int = 1
    max_pixels: float = FileDatasetConfig.max_pixels

    def __call__(self) -> PIL.Image.Image:
        """The upright image in mode RGB; UserError where the file cannot be decoded."""
        return self._decoded(lambda image: to_rgb(turn(image, self.orientation)))

    def stored(self) -> PIL.Image.Image:
        """As it lies in the file: perhaps not upright, in whatever mode. UserError likewise."""
        return self._decoded(lambda image: image)

    def _decoded(self, change: Callable[[PIL.Image.Image], PIL.Image.Image]) -> PIL.Image.Image:
        try:
            with opened(self.path, self.max_pixels) as image:
                image.load()
                return change(image)
        except FileNotFoundError:
            raise UserError(
                f"{self.path}: the image is not there any more. Put it back, and the same command goes on."
            ) from None
        except Exception as error:  # PIL's decoders raise whatever the bytes provoke: OSError, struct.error, …
            raise UserError(
                f"{self.path}: the image cannot be read ({error}). Replace the file, or remove it together with its "
                "annotation, or leave out all such pictures with dataset.on.undecodable_image=skip_image."
            ) from error


def stored_size_wh(path: Path) -> tuple[int, int]:
    """Before any EXIF orientation. Raises UnreadableImage."""
    try:
        with opened(path, math.inf) as image:
            return image.size
    except Exception as error:  # as in FileImage
        raise UnreadableImage(str(error)) from error


def inspect(path: Path, max_pixels: float = FileDatasetConfig.max_pixels) -> ImageFacts:
    """Size, orientation and digest of the file, without decoding it.

    Raises UnreadableImage for a file that is no image, that stops before its end, or that claims too many pixels.
    """
    try:
        with path.open("rb") as file:
            head, tail, num_bytes = _read_ends(file)
            digest = _digest(file, head, num_bytes)
            file.seek(0)
            with opened(file, max_pixels) as image:
                facts = _facts(image, digest)
                if image.mode == "F":
                    raise ValueError("its pixels are floats of unknown range; store it with 8 or 16 bits")
                if not _has_end(image.format, head, tail, num_bytes):
                    image.load()
    except TooManyPixels:
        raise
    except PIL.UnidentifiedImageError as error:
        said = "no picture of a known format" if path.stat().st_size else "an empty file"
        raise UnreadableImage(said) from error
    except Exception as error:  # as in FileImage
        raise UnreadableImage(str(error).replace(str(path), path.name)) from error
    return facts


def digest_of(path: Path) -> str:
    """That of `ImageFacts`."""
    with path.open("rb") as file:
        head, _, num_bytes = _read_ends(file)
        return _digest(file, head, num_bytes)


def _facts(image: PIL.Image.Image, digest: str) -> ImageFacts:
    stated = _stated_orientation(image)
    return ImageFacts(
        raw_size_wh=image.size,
        orientation=stated if stated in TRANSPOSE else 1,
        digest=digest,
        format=image.format or "",
        mode=image.mode,
        transparent=image.has_transparency_data,
        sixteen_bit=is_sixteen_bit(image),
        stated_orientation=stated,
    )


def choose_orientation(facts: ImageFacts, annotated_size_wh: tuple[int, int] | None) -> int:
    """The orientation to apply so that the pixels are those that were annotated.

    The annotation's size tells whether the annotating program turned the image. Where it cannot tell (unknown, or
    the turn keeps the size) the image is turned, as viewers do.
    """
    raw = facts.raw_size_wh
    turned = upright_size(raw, facts.orientation)
    return 1 if annotated_size_wh == raw and raw != turned else facts.orientation


def header(path: Path) -> ImageFacts:
    """Of a file that was inspected before; without its digest."""
    with opened(path, math.inf) as image:
        return _facts(image, "")


def upright_size(raw_size_wh: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Size after `orientation` was applied: 5 to 8 swap width and height."""
    return (raw_size_wh[1], raw_size_wh[0]) if orientation >= 5 else raw_size_wh


def _read_ends(file: BinaryIO) -> tuple[bytes, bytes, int]:
    num_bytes = file.seek(0, 2)
    file.seek(0)
    head = file.read(_ENDS_READ)
    if num_bytes <= _ENDS_READ:
        return head, b"", num_bytes
    file.seek(max(_ENDS_READ, num_bytes - _ENDS_READ))
    return head, file.read(), num_bytes


def _digest(file: BinaryIO, head: bytes, num_bytes: int) -> str:
    digest = hashlib.blake2b(head, digest_size=16, salt=num_bytes.to_bytes(8, "little"))
    if len(head) == num_bytes:
        return digest.hexdigest()
    file.seek(len(head))
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _has_end(kind: str | None, head: bytes, tail: bytes, num_bytes: int) -> bool:
    """Whether the format's end is where it should be; False only means: decode to find out."""
    last = (head + tail)[-1024:]
    if kind in ("JPEG", "MPO"):
        return last.rstrip(b"\0\r\n ").endswith(b"\xff\xd9")  # end of image; some cameras pad behind it
    if kind == "WEBP":
        return int.from_bytes(head[4:8], "little") + 8 <= num_bytes
    return kind == "PNG" and b"IEND" in last


def _stated_orientation(image: PIL.Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1) if "exif" in image.info else 1
    except Exception:  # a broken EXIF block does not make a broken image
        return 1
    return value if isinstance(value, int) else 0
