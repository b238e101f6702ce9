"""Formats with a file of labels for each picture, of the same name, in the folder layouts of `layout.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from headstart.data.policy import Policy
from headstart.data.readers import layout, tree
from headstart.data.readers.described import Described, describe
from headstart.data.readers.layout import Key, relative_name
from headstart.errors import UserError


def pair(root: Path, labels: Sequence[Path], policy: Policy, what: str) -> Iterator[Described]:
    """A picture for each file of labels, found where one has its name, and those that have none.

    A picture without labels counts where others of its folder have some, or where its folder is a split's.
    """
    pictures = _pictures(root)
    by_key = {layout.key(path, root): path for path in labels}
    by_whole: dict[Key, Key] = {(*key[:-1], path.name): key for key, path in pictures.items()}
    lost = [key for key in by_key if key not in pictures and key not in by_whole]
    cases = layout.pair_by_case(lost, (key for key in pictures if key not in by_key))
    labelled: set[Key] = set()
    for key, path in by_key.items():
        own = key if key in pictures else by_whole.get(key) or cases.get(key)
        item = describe(layout.stem(path.stem) if own is None else relative_name(pictures[own], root), path, root)
        if own in labelled:
            raise UserError(f"{pictures[own]}: two {what} have its name, one is {path}; remove one of them.")
        if own is not None:
            item.raw.path, item.found = pictures[own], True
            labelled.add(own)
            if key in cases:
                policy.report("other_case", f"{item.raw.where} for {item.name}", item.name)
        yield item
    folders = {key[:-1] for key in labelled}
    for key, path in pictures.items():
        if key not in labelled and (key[:-1] in folders or tree.split_of(key[:-1]) is not None):
            item = describe(relative_name(path, root), path, root)
            item.raw.path, item.found, item.labelled = path, True, False
            yield item


def _pictures(root: Path) -> dict[Key, Path]:
    found: dict[Key, Path] = {}
    for path in (path for path in layout.files(root) if layout.is_image(path)):
        other = found.setdefault(layout.key(path, root), path)
        if other != path:
            raise UserError(f"{other} and {path}: which one the labels are of, their name does not say; remove one.")
    return found
