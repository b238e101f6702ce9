"""The pictures of a data set that is written: byte for byte as they were, under names that every format can hold."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

import PIL.Image

from headstart.data import images
from headstart.data.images import FileImage
from headstart.data.types import AnnotatedImage, DetectionData
from headstart.data.writers.losses import Loss, Report
from headstart.data.writers.names import Names
from headstart.errors import UserError

_SUFFIX = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "BMP": ".bmp", "WEBP": ".webp", "TIFF": ".tif", "GIF": ".gif"}
_AT_ONCE = 256


Advance = Callable[[], None]
"""Called after each picture."""


@dataclass(frozen=True)
class Put:
    """How pictures come into the new folder."""

    link: bool = False
    """A second name for the same file, where the disk is the same; else a copy."""
    advance: Advance = lambda: None

    def __call__(self, image: AnnotatedImage, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        source = source_of(image)
        if source is None:
            image.read().save(target)
        elif self.link:
            _link(source, target)
        else:
            _copy(source, target)
        self.advance()


def source_of(image: AnnotatedImage) -> Path | None:
    """Its file; None where it is painted when it is read."""
    return image.read.path if isinstance(image.read, FileImage) else None


def channels(image: AnnotatedImage) -> int:
    source = source_of(image)
    return 3 if source is None else PIL.Image.getmodebands(images.header(source).mode)


def named(data: DetectionData, report: Report) -> dict[str, list[PurePosixPath]]:
    """Split -> what each of its pictures is called below the folder of the split."""
    found: dict[str, list[PurePosixPath]] = {}
    changed: list[tuple[str, str]] = []
    painted = 0
    for split, pictures in data.splits.items():
        names = Names()
        found[split] = [names.give(image.name, _suffix(image)) for image in pictures]
        changed += names.changed
        painted += sum(source_of(image) is None for image in pictures)
    if changed:
        before, after = changed[0]
        report(Loss("name", len(changed), "names of pictures", f"changed, such as {before!r} to {after!r}"))
    if painted:
        report(Loss("painted", painted, "pictures that are no files", "stored as PNG: to Headstart, other pictures"))
    return found


def put_all(data: DetectionData, targets: dict[str, list[Path]], put: Put) -> None:
    """Every picture to its place; UserError where one cannot be read, or written."""
    pairs = ((image, target) for split, paths in targets.items() for image, target in _pairs(data, split, paths))
    with ThreadPoolExecutor(8) as pool:  # mostly waiting for the disk
        while chunk := list(islice(pairs, _AT_ONCE)):  # a pool would take them all at once
            list(pool.map(lambda pair: put(*pair), chunk))


def _pairs(data: DetectionData, split: str, paths: list[Path]) -> Iterator[tuple[AnnotatedImage, Path]]:
    return zip(data.splits[split], paths, strict=True)


def _suffix(image: AnnotatedImage) -> str:
    """That of its name, if readers take it for one of a picture."""
    source = source_of(image)
    if source is None:
        return ".png"
    if source.suffix.lower() in images.SUFFIXES:
        return source.suffix
    return _SUFFIX.get(images.header(source).format, ".img")


def _link(source: Path, target: Path) -> None:
    try:
        os.link(os.path.realpath(source), target)
    except OSError as error:
        raise UserError(
            f"link=true: {target} cannot be made a link to {source} ({error.strerror}); leave link out to copy it."
        ) from error


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise UserError(f"{source} cannot be copied to {target} ({error.strerror}).") from error
