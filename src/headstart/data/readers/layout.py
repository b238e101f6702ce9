"""Where images and their annotation files lie: one rule for all the folder layouts in the wild.

A file is known by its folders without those that only say what kind of file is in them (`JPEGImages`, `Annotations`,
`images`, `labels`, …), and its name without the suffix. So these all are the image `x` of the split `train`:
`images/train/x.jpg`, `train/images/x.jpg`, `train/x.jpg`; and their annotations `annots/train/x.xml`,
`train/annotations/x.xml`, `train/x.xml`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from headstart.data import images, splits

ROLE_FOLDERS = frozenset(
    {"jpegimages", "images", "image", "imgs", "img", "annotations", "annotation", "annots", "xml", "xmls", "labels"}
)
_MAX_DEPTH = 6

Key = tuple[str, ...]


def files(root: Path) -> list[Path]:
    """Every file below `root`, sorted; hidden folders and whatever lies deeper than six folders left out."""
    found: list[Path] = []
    for folder, folders, names in os.walk(root, followlinks=True):
        depth = len(Path(folder).relative_to(root).parts)
        folders[:] = [name for name in folders if not name.startswith(".")] if depth < _MAX_DEPTH else []
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(found)


def is_image(path: Path) -> bool:
    return path.suffix.lower() in images.SUFFIXES


def key(path: Path, root: Path) -> Key:
    """What an image and its annotation file have in common."""
    relative = path.relative_to(root)
    return (*(part for part in relative.parts[:-1] if part.lower() not in ROLE_FOLDERS), relative.stem)


def split_of(key: Key) -> str | None:
    """The first folder that has the name of a split."""
    return next((part for part in key[:-1] if part.lower() in splits.NAMES), None)


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, text) of the lines that are not blank."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line.strip()
