"""What `images=…` names: pictures and videos, each with a name of its own. Imports no torch."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headstart.data.images import SUFFIXES
from headstart.data.readers import tree
from headstart.errors import UserError

VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv"})


@dataclass(frozen=True)
class Item:
    """A file that is to be looked at."""

    path: Path
    name: str
    """Relative to the folder that all are in, with `/`."""

    @property
    def is_video(self) -> bool:
        return self.path.suffix.lower() in VIDEOS


@dataclass(frozen=True)
class Inputs:
    items: tuple[Item, ...]
    notes: tuple[str, ...] = field(default=())
    """What else there is, and why it is not looked at."""


def inputs_of(images: str) -> Inputs:
    """Of a file, a folder (links are followed within it, hidden files left out), or a pattern.

    Raises `UserError` where there is nothing of the kind.
    """
    if "://" in images:
        raise UserError(f"images={images} is an address, and nothing is downloaded: save the pictures first.")
    path = Path(images).expanduser()
    if path.is_file():
        return Inputs((Item(path, path.name),))
    if path.is_dir():
        return _of_folder(path, images)
    files = sorted(Path(found) for found in glob.glob(str(path), recursive=True) if os.path.isfile(found))
    if not files:
        raise UserError(f"images={images}: there is no such file or folder, and no file that fits it as a pattern.")
    root = Path(os.path.commonpath([file.parent for file in files]))
    return Inputs(tuple(_items(files, root)))


def _of_folder(folder: Path, images: str) -> Inputs:
    found = tree.walk(folder)
    known = [file for file in found.files if file.suffix.lower() in SUFFIXES | VIDEOS]
    others = Counter(file.suffix.lower() or "without a suffix" for file in set(found.files) - set(known))
    if not known:
        has = f" ({_counted(others)})" if others else ""
        raise UserError(f"images={images}: no file in it has the suffix of a picture or a video{has}.")
    notes = [f"Not looked at: {odd.where} ({odd.kind.replace('_', ' ')})." for odd in found.defects]
    if others:
        notes.append(f"Not looked at: {sum(others.values())} other files ({_counted(others)}).")
    return Inputs(tuple(_items(known, folder)), tuple(notes))


def _items(files: Sequence[Path], root: Path) -> Iterator[Item]:
    yield from (Item(file, file.relative_to(root).as_posix()) for file in files)


def _counted(suffixes: Counter[str]) -> str:
    return ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(5))
