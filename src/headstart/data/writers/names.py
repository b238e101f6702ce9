"""What a picture is called in a data set that is written: as it was, where every format and system can have it so.

Below the folder of its split a picture keeps its own folders, without those that only say what kind of file is in them,
or which split. No two names are alike but for letter case, suffix, or the way an accent is written: in VOC and YOLO a
picture and its label have the stem in common, and some systems take such names for one.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

from headstart.data import images, splits
from headstart.data.readers import tree

_MAX_FOLDERS = 4
"""Ours are two, and readers look into six."""
_MAX_BYTES = 200
"""Of a file's name: systems have 255."""
_TAKEN = frozenset({"classes"})
"""`labels/train/classes.txt` is a list of names."""
_OF_FILES = images.SUFFIXES | {".xml", ".txt", ".json"}
_NOWHERE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\]")
"""Ends a line of a list, cannot be in xml, is no text, or is a folder to Windows."""


class Names:
    """Gives each picture of a split a name of its own."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self.changed: list[tuple[str, str]] = []
        """(what it was called, what it is called), where these are not the same."""

    def give(self, name: str, suffix: str) -> PurePosixPath:
        """`name` is relative to the data set's folder, with or without a suffix; `suffix` is that of the file."""
        *folders, last = name.split("/")
        stem = last.removesuffix(suffix)
        kept = [part for part in folders if part not in ("", ".", "..") and not _says_kind(part)]
        wanted = PurePosixPath(*map(_folder, kept[:_MAX_FOLDERS]), _stem("_".join([*kept[_MAX_FOLDERS:], stem])))
        path = self._alone(wanted)
        path = path.with_name(path.name + suffix)
        if path.as_posix() != "/".join([*kept, stem + suffix]):
            self.changed.append((name, path.as_posix()))
        return path

    def _alone(self, wanted: PurePosixPath) -> PurePosixPath:
        path, number = wanted, 1
        while (key := _alike(path.as_posix())) in self._used:
            number += 1
            path = wanted.with_name(f"{wanted.name}_{number}")
        self._used.add(key)
        return path


def _says_kind(folder: str) -> bool:
    return folder.lower() in tree.ROLE_FOLDERS or folder.lower() in splits.NAMES


def _alike(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _folder(name: str) -> str:
    """Not called as a file beside it may be."""
    stem, dot, suffix = _plain(name).rpartition(".")
    return f"{stem}_{suffix}" if dot and f".{suffix.lower()}" in _OF_FILES else stem + dot + suffix


def _stem(name: str) -> str:
    """`x.jpg` would be the label of `x.jpg` as well as of `x.jpg.png`."""
    name = _folder(name)
    return f"{name}_" if name.lower() in _TAKEN else name


def _plain(name: str) -> str:
    """Not hidden, no blanks at its ends, of a length that leaves place for a suffix."""
    name = _NOWHERE.sub("_", name)
    name = name.encode("utf-8", "replace")[:_MAX_BYTES].decode("utf-8", "ignore")
    inner = name.strip()
    before, after = name.index(inner) if inner else len(name), len(name) - len(name.rstrip())
    name = "_" * before + inner + "_" * (after if inner else 0)
    return f"_{name[1:]}" if name.startswith(".") else name or "_"
