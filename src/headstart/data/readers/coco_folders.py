"""Which file each `file_name` of a COCO json is.

Every file below the root whose path ends as the name does is a reading of it: `a.jpg` is `train/a.jpg` and
`valid/a.jpg`. One folder serves the whole json. It is told by its name (`valid/` for `val.json`), by the json lying in
it, and by the images' sizes; where two are left, that is an error, for boxes on another split's pictures look
plausible. Names of other machines (`C:\\set\\images\\a.jpg`, `file:///…`, `a%20b.jpg`) are matched by their end, where
exactly one file has it.
"""

from __future__ import annotations

import filecmp
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.data import images, splits
from headstart.data.readers import layout, tree
from headstart.data.readers.coco_json import CocoImage, CocoJson
from headstart.data.readers.coco_names import Files, Parts, Reading, read_name
from headstart.data.readers.inside import Fence
from headstart.errors import UserError

_NUM_TRIED = 50
_NO_PHOTOS = frozenset({"mask", "masks", "segmentationclass", "segmentationobject", "thumbs", "thumbnails", "labels"})
"""Folders whose files often are called as the images are."""


@dataclass(frozen=True)
class Search:
    """Where the images of one json are looked for."""

    part: CocoJson
    kind: str | None
    """`train`, `val` or `test`, whatever its folders are called; None: the json is of no split."""
    folder: Path
    files: Files
    """All below `folder`."""
    setting: str
    """That which names the folder."""
    fence: Fence
    named: bool
    """Whether it does."""


def index(fence: Fence) -> Files:
    """Every file below the folder."""
    found: Files = defaultdict(list)
    for path in layout.files(fence.root, fence):
        parts = tuple(layout.relative_name(path, fence.root).split("/"))
        found[layout.folded(parts[-1])].append(parts)
    return found


def locate(search: Search) -> tuple[list[Path | None], list[int]]:
    """(the file of each image, None where it is not there; numbers of those that their names do not say in full)."""
    described = search.part.images
    readings = [read_name(image.file_name, search.files) for image in described]
    base = _choose(search, readings)
    paths: list[Path | None] = []
    for image, reading in zip(described, readings, strict=True):
        parts = reading.bases.get(base) if base is not None else None
        parts = parts or _elsewhere(search, image, reading)
        paths.append(_outside(search, image) if parts is None else search.folder.joinpath(*parts))
    by_end = [
        number
        for number, reading in enumerate(readings)
        if reading.bases and not (reading.literal and base in reading.bases)
        if not _is_beside(search.part, described[number], paths[number])
    ]
    twice = Counter(paths)
    for number in by_end:
        if twice[paths[number]] > 1:  # `cam1/0.jpg` and `cam2/0.jpg` are not both `images/0.jpg`
            paths[number] = None
    return paths, [number for number in by_end if paths[number] is not None]


def kind_of(name: str | None) -> str | None:
    """`val` for `valid`, `Validation`, `val2017`, …"""
    known = {"train": splits.TRAIN_NAMES, "val": splits.VAL_NAMES, "test": splits.TEST_NAMES}
    return next((kind for kind, names in known.items() if name is not None and name.lower() in names), None)


def why_missing(search: Search, name: str) -> str:
    """What to say of a name that is not found."""
    places = [str(search.folder.joinpath(*parts)) for parts in read_name(name, search.files).bases.values()]
    if len(places) > 1:
        return f" It may be {' or '.join(places[:3])}: name the folder, {search.setting}=<folder>."
    slash = " Its backslashes were read as those of a path of Windows." if "\\" in name else ""
    return f"{slash} {search.setting}=<folder> names the folder of the images."


def _choose(search: Search, readings: Sequence[Reading]) -> Parts | None:
    """The folder that serves the json; UserError where two do."""
    hits = Counter(base for reading in readings for base in reading.bases)
    own = {base: count for base, count in hits.items() if not _is_of_another(search, base)}
    hits = Counter(own or hits)
    most = max(hits.values(), default=0)
    fit = [base for base in sorted(hits) if 2 * hits[base] >= most]
    if len(fit) > 1:
        fit = _of_stated_sizes(search, readings, fit)
    first = min((_rank(search, base) for base in fit), default=0)
    named = [base for base in fit if _rank(search, base) == first]
    best = max((hits[base] for base in named), default=0)
    left = [base for base in fit if hits[base] == most] if best < most else []
    left = [base for base in named if hits[base] == best] + left
    for base in left[1:]:
        if not _are_equal(search, readings, left[0], base):
            raise UserError(_two_fit(search, [left[0], base], hits))
    return max(left, key=lambda base: hits[base]) if left else None


def _rank(search: Search, base: Parts) -> int:
    """By name: the split's folder, or the json's own, before one for images, before any other."""
    names = {part.lower() for part in base}
    if search.named and not base:
        return 0
    own = search.folder.joinpath(*base) == search.part.path.parent
    split = search.kind is not None and search.kind in {kind_of(part) for part in base}
    if names & _NO_PHOTOS:
        return 4
    if split or own:
        return 0 if split and own else 1
    return 2 if base and base[-1].lower() in tree.ROLE_FOLDERS else 3


def _is_of_another(search: Search, base: Parts) -> bool:
    """Whether a folder has the name of another split, and not of the json's."""
    kinds = {kind_of(part) for part in base} - {None}
    return search.kind is not None and bool(kinds) and search.kind not in kinds


def _of_stated_sizes(search: Search, readings: Sequence[Reading], bases: list[Parts]) -> list[Parts]:
    """Without the folders in which most images have other sizes than the json says; all, where it tells nothing."""
    left = []
    for base in bases:
        pairs = [(image, reading.bases[base]) for image, reading in _tried(search, readings, base)]
        told = [_has_stated_size(search, image, parts) for image, parts in pairs if min(image.size_wh or (0,)) > 0]
        if not told or 2 * sum(told) >= len(told):
            left.append(base)
    return left or bases


def _has_stated_size(search: Search, image: CocoImage, parts: Parts) -> bool:
    try:
        size = images.stored_size_wh(search.folder.joinpath(*parts))
    except images.UnreadableImage:  # a broken file tells nothing
        return False
    return image.size_wh in (size, size[::-1])  # a camera's picture may lie on its side


def _are_equal(search: Search, readings: Sequence[Reading], first: Parts, second: Parts) -> bool:
    """Whether two folders hold the same pictures of the json, or none in common."""
    pairs = [reading.bases for _, reading in _tried(search, readings, first, second)]
    paths = [[search.folder.joinpath(*bases[base]) for base in (first, second)] for bases in pairs]
    return all(_is_copy(one, other) for one, other in paths)


def _is_copy(first: Path, second: Path) -> bool:
    try:
        return filecmp.cmp(first, second, shallow=False)
    except OSError:
        return False


def _tried(search: Search, readings: Sequence[Reading], *bases: Parts) -> list[tuple[CocoImage, Reading]]:
    """Some of the images that are in all of the folders."""
    pairs = zip(search.part.images, readings, strict=True)
    common = [(image, reading) for image, reading in pairs if all(base in reading.bases for base in bases)]
    return common[:: max(1, len(common) // _NUM_TRIED)]


def _is_beside(part: CocoJson, image: CocoImage, path: Path | None) -> bool:
    """Whether the name, read from the json's own folder, is the file; `../images/a.jpg` may be."""
    return path is None or os.path.normpath(part.path.parent / image.file_name) == os.path.normpath(path)


def _elsewhere(search: Search, image: CocoImage, reading: Reading) -> Parts | None:
    """The one file of this name that is in no folder of another split, and has the size that the json says."""
    found = [path for base, path in reading.bases.items() if not _is_of_another(search, base)]
    if len(found) != 1 or (image.size_wh and min(image.size_wh) > 0 and not _has_stated_size(search, image, found[0])):
        return None
    return found[0]


def _outside(search: Search, image: CocoImage) -> Path | None:
    """What the index does not have: deep, hidden, or not below the folder."""
    bases = [search.folder] if search.named else [search.part.path.parent, search.folder]
    paths = [base / image.file_name for base in bases]
    found = next((path for path in paths if os.path.isfile(path)), None)  # any text is a name to isfile
    where = f"{search.part.path}: file_name {image.file_name}"
    return found if found is None else search.fence.check(found, where)


def _two_fit(search: Search, bases: Sequence[Parts], hits: Counter[Parts]) -> str:
    total = len(search.part.images)
    places = " and ".join(f"{search.folder.joinpath(*base)} ({hits[base]} of {total})" for base in bases)
    return (
        f"{search.part.path}: its images may be those of {places}: files of these names are in both, with other "
        f"pictures. Say which: {search.setting}=<folder>, relative to dataset.root."
    )
