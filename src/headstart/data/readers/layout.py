"""Where images and their annotation files lie: one rule for all the folder layouts in the wild.

A file is known by its folders without those that only say what kind of file is in them (`JPEGImages`, `Annotations`,
`images`, `labels`, …), and its name without the suffix. So these all are the image `x` of the split `train`:
`images/train/x.jpg`, `train/images/x.jpg`, `Train/x.jpg`; and their annotations `annots/train/x.xml`,
`train/Annotations/x.xml`, `train/x.xml`.
"""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from headstart import limits
from headstart.data import images, splits
from headstart.data.readers import tree
from headstart.data.readers.inside import KEEP, Fence

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")

Key = tuple[str, ...]
Item = TypeVar("Item")


def files(root: Path, fence: Fence | None = None) -> list[Path]:
    """Every file below `root` once, sorted; what `tree.walk` leaves out, left out."""
    return [*tree.walk(root, fence.bound if fence else None).files]


def is_image(path: Path) -> bool:
    return path.suffix.lower() in images.SUFFIXES


def key(path: Path, root: Path) -> Key:
    """What an image and its annotation file have in common; folders named after splits in small letters."""
    relative = path.relative_to(root)
    return (*fold_splits(part for part in relative.parts[:-1] if part.lower() not in tree.ROLE_FOLDERS), relative.stem)


def fold_splits(folders: Iterable[str]) -> Iterator[str]:
    return (part.lower() if part.lower() in splits.NAMES else part for part in folders)


def split_of(key: Sequence[str]) -> str | None:
    """The first folder that has the name of a split."""
    return tree.split_of(key[:-1])


def folded(name: str) -> str:
    """The same for names that differ in letter case, or in how an accent is written (macOS divides it off), alone."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def casefolded(key: Key) -> Key:
    return tuple(map(folded, key))


def stem(name: str) -> str:
    """Without the suffix of an image."""
    return name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in images.SUFFIXES else name


def pair_by_case(labels: Iterable[Key], pictures: Iterable[Key]) -> dict[Key, Key]:
    """Label -> the one picture whose name differs in letter case alone, where exactly one fits either way."""
    by_name: dict[Key, tuple[list[Key], list[Key]]] = defaultdict(lambda: ([], []))
    for side, keys in enumerate((labels, pictures)):
        for found in keys:
            by_name[casefolded(found)][side].append(found)
    return {ours[0]: theirs[0] for ours, theirs in by_name.values() if len(ours) == len(theirs) == 1}


class Tails(Generic[Item]):
    """Finds what a list names by the end of its path: lists were written for other folders than they lie in."""

    def __init__(self, named: Iterable[tuple[Key, Item]]) -> None:
        self._by_last: dict[str, list[tuple[Key, Item]]] = defaultdict(list)
        for parts, item in named:
            self._by_last[folded(parts[-1])].append((parts, item))

    def find(self, text: str) -> list[Item]:
        """Those that have most of the path's end in common; one, and it is no guess.

        Letter case counts where it tells two apart. Folders of two different splits are not the same.
        """
        wanted = tuple(part for part in text.replace("\\", "/").split("/") if part not in ("", ".", ".."))
        if not wanted:
            return []
        split = tree.split_of(wanted[:-1])
        fits = [
            ((_common_end(parts, wanted), parts[-1] == wanted[-1]), item)
            for parts, item in self._by_last.get(folded(wanted[-1]), ())
            if split is None or tree.split_of(parts[:-1]) in (None, split)
        ]
        best = max((rank for rank, _ in fits), default=(0, False))
        return [item for rank, item in fits if rank == best]


def _common_end(one: Key, other: Key) -> int:
    same = 0
    for ours, theirs in zip(reversed(one), reversed(other), strict=False):
        if folded(ours) != folded(theirs):
            break
        same += 1
    return same


def beside(text: str, *bases: Path) -> Path | None:
    """The file or folder that is called so in one of `bases`; the letter case of known folders does not matter."""
    for name in dict.fromkeys((text, text.replace("\\", "/"))):
        for base in bases:
            path = _known_case(join(base, name))
            if path is not None:
                return path
    return None


def join(base: Path, name: str) -> Path:
    """`base / name` with each `..` resolved, so that one file has one path."""
    path = base
    for part in Path(name).parts:
        path = path.parent if part == ".." and path.name not in ("", "..") else path / part
    return path


def _known_case(path: Path) -> Path | None:
    """`path`, or what is there in its place and differs in the letter case of known folders alone."""
    try:
        fits = [path] if path.exists() else _spellings(path)
    except OSError:  # a name that is too long for one
        return None
    return fits[0] if len(fits) == 1 else None


def _spellings(path: Path) -> list[Path]:
    if path.parent == path:
        return [path]
    folders = [folder for folder in _spellings(path.parent) if folder.is_dir()]
    if path.name.lower() not in (*tree.ROLE_FOLDERS, *splits.NAMES):
        return [folder / path.name for folder in folders if (folder / path.name).exists()]
    return [other for folder in folders for other in folder.iterdir() if other.name.lower() == path.name.lower()]


def packed(paths: Iterable[Path]) -> str:
    """What to do about archives among the files, in words; empty where there are none."""
    found = [path for path in paths if path.suffix.lower() in ARCHIVES]
    return f" {found[0].name} is an archive: unpack it." if found else ""


def leading_out(fence: Fence) -> str:
    """What to do about links that were not followed, in words; empty where there are none."""
    found = [defect.where for defect in tree.walk(fence.root, fence.bound).defects if defect.kind == "outside_link"]
    return f" {found[0]} leads out of the folder, so it was not followed; if you trust it, {KEEP}." if found else ""


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, text) of the lines that are not blank."""
    for number, line in enumerate(limits.lines(path), start=1):
        if line.strip():
            yield number, line.strip()


def relative_name(path: Path, root: Path) -> str:
    """Relative to the data set's folder, with forward slashes on every system."""
    text, start = str(path), f"{root}{os.sep}"
    if text.startswith(start):  # pathlib takes twenty times as long
        return text[len(start) :].replace(os.sep, "/")
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
