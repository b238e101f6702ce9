"""Which files below the root a `file_name` of a COCO json may be, by the ends of their paths."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

from headstart.data.readers import layout

Parts = tuple[str, ...]


Files = dict[str, list[Parts]]
"""Name of a file, without letter case -> the parts of its path, of each file of this name."""


@dataclass
class Reading:
    """The files that a name may be."""

    bases: dict[Parts, Parts] = field(default_factory=dict)
    """Folder that the name is relative to -> the file there."""
    literal: bool = False
    """Whether the file's path ends in the whole of the name as it is written."""


def read_name(name: str, files: Files) -> Reading:
    """By the longest end of the name that is the end of a path."""
    for parts in _spellings(name):
        near = files.get(layout.folded(parts[-1]), ())
        lengths = {path: length for path in near if (length := _common_end(parts, path))}
        if lengths:
            longest = max(lengths.values())
            bases = {path[:-longest]: path for path, length in lengths.items() if length == longest}
            return Reading(bases, literal=longest == len(parts) and os.path.join(*parts) == os.path.normpath(name))
    return _in_other_case(name, files)


def _in_other_case(name: str, files: Files) -> Reading:
    """As `read_name`, whatever the letter case and the form of accents; of each folder where one file fits."""
    for parts in map(layout.casefolded, _spellings(name)):
        lengths = {path: _common_end(parts, layout.casefolded(path)) for path in files.get(parts[-1], ())}
        longest = max(lengths.values(), default=0)
        bases: dict[Parts, list[Parts]] = defaultdict(list)
        for path in (path for path, length in lengths.items() if length == longest):
            bases[path[:-longest]].append(path)
        if bases:
            return Reading({base: paths[0] for base, paths in bases.items() if len(paths) == 1})
    return Reading()


def _spellings(name: str) -> Iterator[Parts]:
    """As written, with the separators of Windows, as a URL, and with accents as other systems write them."""
    slashes = name.replace("\\", "/")
    url = unquote(slashes.split("?")[0] if "://" in slashes else slashes)
    accents = [] if url.isascii() else [unicodedata.normalize(form, url) for form in ("NFC", "NFD")]
    for spelling in dict.fromkeys((name, slashes, url, *accents)):
        parts = tuple(part for part in os.path.normpath(spelling).split("/") if part not in ("", ".", ".."))
        if parts:
            yield parts


def _common_end(first: Parts, second: Parts) -> int:
    length = 0
    while length < min(len(first), len(second)) and first[-1 - length] == second[-1 - length]:
        length += 1
    return length
