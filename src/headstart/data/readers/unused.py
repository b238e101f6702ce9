"""The files below a data set's folder that no split uses, and why: what a user believes to be trained on, and is not.

Told from names alone, whatever the format; hidden files and folders are left out, links are followed, each folder
once.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from headstart import limits
from headstart.data import images, splits
from headstart.data.readers import layout
from headstart.data.readers.inside import Fence
from headstart.data.types import Unused

MOST_FILES = 1_000_000
"""Below a data set's folder; where there are more, it is no data set's, and is not looked through."""
NAMES_KEPT = 10_000
"""Of each reason; the record has fewer, `headstart doctor` all of them."""

_LABELS = frozenset({".xml", ".txt"})
"""Of one picture each; a json may be of one or of all."""
_DESCRIPTIONS = frozenset({".yaml", ".yml", ".names", ".data"})


def find(
    fence: Fence, pictures: Iterable[Path], annotations: Iterable[str], has_splits: bool = True
) -> dict[str, Unused]:
    """Reason (`no_label`, `other_folder`, `not_listed`, `no_picture`, `other_annotations`, `split_list`,
    `unknown_suffix`) -> files.

    `pictures` are those of all splits as read, `annotations` the files they are described in, relative to `root`. Only
    `too_many_files` where there are more than `MOST_FILES`. `has_splits`: whether the data set says what trains; where
    it does not, a list that is called after a split was not understood.
    """
    root = fence.root
    files = list(islice(_walk(fence), MOST_FILES + 1))
    if len(files) > MOST_FILES:
        return {"too_many_files": Unused(len(files), ())}
    used = [str(path) for path in pictures]
    described = set(annotations)
    others = _others(files, {*used, *(os.path.join(root, name) for name in described)})
    reasons: dict[str, list[str]] = defaultdict(list)
    for reason, path in _reasons(others, used, described, root):
        reasons[reason].append(_name(path, root))
    if not has_splits:
        lists = [path for path in others if _suffix(path) == ".txt" and Path(path).stem.lower() in splits.NAMES]
        reasons["split_list"] = [_name(path, root) for path in lists if not _is_yolo(path)]
    return {reason: Unused(len(names), tuple(names[:NAMES_KEPT])) for reason, names in reasons.items() if names}


def _walk(fence: Fence) -> Iterator[str]:
    """Links after folders: what is in both goes by its own name. Where they lead out of the fence, nothing is seen."""
    root = str(fence.root)
    seen: set[tuple[int, int] | None] = {None, _identity(root)}
    for folder, folders, names in os.walk(root, followlinks=True):
        below = [name for name in folders if not name.startswith(".")]
        folders.clear()
        for name in sorted(below, key=lambda name: (os.path.islink(os.path.join(folder, name)), name)):
            path = os.path.join(folder, name)
            identity = _identity(path)
            if identity not in seen and _is_ours(path, fence):
                seen.add(identity)
                folders.append(name)
        paths = (os.path.join(folder, name) for name in sorted(names) if not name.startswith("."))
        yield from (path for path in paths if _is_ours(path, fence))


def _is_ours(path: str, fence: Fence) -> bool:
    return not os.path.islink(path) or fence.holds(Path(path))


def _others(files: list[str], used: set[str]) -> list[str]:
    """Those that are not used, under another name neither: a link to a file in use is that file."""
    others = [path for path in files if path not in used and _suffix(path) not in _DESCRIPTIONS]
    identities = {_identity(path) for path in used} if others else set()
    return [path for path in others if _identity(path) not in identities]


def _reasons(others: list[str], used: list[str], described: set[str], root: Path) -> Iterator[tuple[str, str]]:
    labels = {path: _key(path, root) for path in others if _suffix(path) in _LABELS}
    pictures = {path: _key(path, root) for path in others if _suffix(path) in images.SUFFIXES}
    # One json describes all pictures: there, none has a label of its own.
    labelled = {*labels.values()} if any(_suffix(name) != ".json" for name in described) else {*pictures.values()}
    yield from _of_pictures(pictures, labelled, {os.path.dirname(path) for path in used})
    if labels:
        yield from _of_labels(labels, {_key(path, root) for path in used}, {*pictures.values()})
    for path in others:
        if _suffix(path) == ".json":
            yield "other_annotations", path
        elif path not in pictures and path not in labels:
            yield "unknown_suffix", path


def _of_pictures(
    pictures: dict[str, layout.Key], labelled: set[layout.Key], folders: set[str]
) -> Iterator[tuple[str, str]]:
    for path, key in pictures.items():
        if key not in labelled:
            yield "no_label", path
        else:
            yield ("not_listed" if os.path.dirname(path) in folders else "other_folder"), path


def _of_labels(
    labels: dict[str, layout.Key], used: set[layout.Key], unused: set[layout.Key]
) -> Iterator[tuple[str, str]]:
    """What belongs to an unused picture is counted as that."""
    for path, key in labels.items():
        if key in used:
            yield "other_annotations", path
        elif key not in unused and (_suffix(path) == ".xml" or _is_yolo(path)):
            yield "no_picture", path


def _is_yolo(path: str) -> bool:
    """Whether its first line is numbers, as in a label; lists, names and read-me's are none."""
    try:
        return len([float(word) for word in limits.first_line(Path(path)).split()]) >= 5
    except (OSError, ValueError):
        return False


def _name(path: str, root: Path) -> str:
    return os.path.relpath(path, root).replace(os.sep, "/")


def _key(path: str, root: Path) -> layout.Key:
    return layout.key(Path(path), root) if Path(path).is_relative_to(root) else (path,)


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _identity(path: str) -> tuple[int, int] | None:
    """None where there is nothing."""
    with suppress(OSError):
        found = os.stat(path)
        return found.st_dev, found.st_ino
    return None
