"""Every file below a folder, each once: links are followed within the folder, never round in circles nor out of it.

A link may say what the file it leads to does not (`train/x.jpg -> ../pool/x.jpg`): of several ways to one file the one
through a folder that is named after a split is taken, for each such split, or else after a kind of file; then the
file's own.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from headstart.data import splits
from headstart.data.policy import Policy

ROLE_FOLDERS = frozenset(
    {"jpegimages", "images", "image", "imgs", "img", "annotations", "annotation", "annots", "xml", "xmls"}
    | {"labels", "label", "labeltxt", "labeltxt-v1.0", "labeltxt-v1.5", "json", "jsons"}
)
_MAX_DEPTH = 6


class Odd(NamedTuple):
    """What is reported to whoever reads the data set."""

    kind: str
    where: str


@dataclass(frozen=True)
class Tree:
    """What lies below a folder."""

    files: Sequence[Path] = ()
    """Sorted; hidden ones, and whatever lies deeper than six folders, left out."""
    defects: Sequence[Odd] = ()
    """Each link that leads nowhere new, and each folder that is not looked into."""


_walked: ContextVar[dict[tuple[Path, Path], Tree] | None] = ContextVar("_walked", default=None)


@contextmanager
def kept() -> Iterator[None]:
    """What is walked in here is walked once, and taken for what it was then: a data set is read as of one moment."""
    token = _walked.set({})
    try:
        yield
    finally:
        _walked.reset(token)


def walk(root: Path, within: Path | None = None) -> Tree:
    """The files below `root`, which may itself be a link; links may lead anywhere `within` a folder above it."""
    real = Path(os.path.realpath(root))
    bound = Path(os.path.realpath(within or root))
    bound = bound if real.is_relative_to(bound) else real
    known = _walked.get()
    if known is None:
        return _walk(root, real, bound)
    if (root, bound) not in known:
        known[root, bound] = _walk(root, real, bound)
    return known[root, bound]


def _walk(root: Path, real: Path, bound: Path) -> Tree:
    scan = _Scan(root, real, bound)
    scan.run()
    return Tree(sorted(scan.once()), sorted(scan.defects))


def report(root: Path, policy: Policy, within: Path | None = None) -> None:
    for defect in walk(root, within).defects:
        policy.report(defect.kind, defect.where)


def split_of(folders: Sequence[str]) -> str | None:
    """The first folder that has the name of a split, in small letters."""
    return next((part.lower() for part in folders if part.lower() in splits.NAMES), None)


Folder = tuple[Path, Path, tuple[Path, ...]]
"""A folder as it was reached, as it is really called, and the links on the way."""


class _Scan:
    """Folder by folder, those reached through links last; each real folder once for what its path says of it."""

    def __init__(self, root: Path, real: Path, bound: Path) -> None:
        self.root, self.real, self.bound = root, real, bound
        self.defects: list[Odd] = []
        self._seen: set[tuple[Path, str | None, bool]] = set()
        self._found: dict[Path, list[tuple[Path, tuple[Path, ...]]]] = defaultdict(list)

    def run(self) -> None:
        folders: list[Folder] = [(self.root, self.real, ())]
        linked: list[Folder] = []
        while folders or linked:
            folder, real, links = folders.pop() if folders else linked.pop(0)
            if self._is_new(folder, real, links):
                for child in self._enter(folder, real, links):
                    (linked if child[2] else folders).append(child)

    def _is_new(self, folder: Path, real: Path, links: tuple[Path, ...]) -> bool:
        if folder in links and folder.resolve() in (folder.parent / "any").resolve().parents:
            self._report(folder, "link_loop")
            return False
        parts = folder.relative_to(self.root).parts
        said = (real, split_of(parts), _has_role(parts))
        if said in self._seen:
            if folder in links:
                self._report(folder, "repeated_link")
            return False
        self._seen.add(said)
        if len(parts) > _MAX_DEPTH:
            self.defects.append(Odd("deep_folder", folder.relative_to(self.root).as_posix()))
        return len(parts) <= _MAX_DEPTH

    def _enter(self, folder: Path, real: Path, links: tuple[Path, ...]) -> Iterator[Folder]:
        """Its folders; its files are kept."""
        as_named = folder == real
        for entry in self._entries(folder):
            path, passed = folder / entry.name, links
            target = path if as_named else real / entry.name
            if entry.is_symlink():
                target, passed = Path(os.path.realpath(path)), (*links, path)
                if not target.is_relative_to(self.bound):
                    self._report(path, "outside_link")
                    continue
            if entry.is_dir():
                yield path, target, passed
            elif entry.is_file() or not path.exists():  # pipes and devices would hang whoever reads them
                self._found[target].append((path, passed))

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return sorted((item for item in entries if not item.name.startswith(".")), key=lambda item: item.name)
        except OSError as error:
            where = f"{folder.relative_to(self.root).as_posix()}: {error.strerror}"
            self.defects.append(Odd("unreadable_folder", where))
            return []

    def once(self) -> Iterator[Path]:
        """Of each file the path that says most, for each split that it is in."""
        for ways in self._found.values():
            kept = {path for path, _ in ways} if len(ways) == 1 else _best(ways, self.root)
            yield from kept
            for path, links in ways:
                if links and path in links and path not in kept:
                    self._report(path, "repeated_link")

    def _report(self, link: Path, kind: str) -> None:
        where = f"{link.relative_to(self.root).as_posix()} -> {os.readlink(link)}"
        self.defects.append(Odd(kind, where))


def _best(ways: Sequence[tuple[Path, tuple[Path, ...]]], root: Path) -> set[Path]:
    best: dict[str | None, tuple[bool, int, Path]] = {}
    for path, links in ways:
        folders = path.relative_to(root).parts[:-1]
        split, rank = split_of(folders), (not _has_role(folders), len(links), path)
        best[split] = min(rank, best.get(split, rank))
    named = {path for split, (_, _, path) in best.items() if split is not None}
    return named or {best[None][2]}


def _has_role(folders: Sequence[str]) -> bool:
    return any(part.lower() in ROLE_FOLDERS for part in folders)
