"""Formats with a file of labels for each picture, of the same name, in the folder layouts of `layout.py`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from headstart.data.policy import Policy
from headstart.data.readers import layout, tree
from headstart.data.readers.found import Described, describe, fits_several, undescribed
from headstart.data.readers.layout import Key, relative_name

Names = Callable[[Path], str]
"""The picture that a file of labels names, a path of any machine; empty where it names none."""


def pair(root: Path, labels: Sequence[Path], policy: Policy, names: Names) -> Iterator[Described]:
    """A picture for each file of labels, found where one has its name, and those that have none.

    Of several pictures of its name it is of the one that it names; where it names none of them, that is a fault. A
    picture without labels counts where others of its folder have some, or where its folder is a split's.
    """
    pictures = _pictures(root)
    by_whole: dict[Key, Path] = {(*key[:-1], path.name): path for key, paths in pictures.items() for path in paths}
    by_key = [(layout.key(path, root), path) for path in labels]
    keys = {key for key, _ in by_key}
    whole = {by_whole[key] for key in keys if key in by_whole}
    cases = layout.pair_by_case(keys - pictures.keys() - by_whole.keys(), pictures.keys() - keys)
    spoken_for: set[Path] = set()
    for key, path in by_key:
        fits = [by_whole[key]] if key in by_whole else pictures.get(cases.get(key, key), [])
        fits = [picture for picture in fits if picture not in whole] or fits
        spoken_for.update(fits)
        item = describe(layout.stem(path.stem), path, root)
        own = fits if len(fits) < 2 else _named(item, fits, names(path), root, policy)
        if own:
            item.set_picture(own[0], root)
            if key in cases:
                policy.report("other_case", f"{item.raw.where} for {item.image}", item.image)
        yield item
    folders = {layout.key(path, root)[:-1] for path in spoken_for}
    for key, paths in pictures.items():
        if key[:-1] in folders or tree.split_of(key[:-1]) is not None:
            yield from (undescribed(path, root) for path in paths if path not in spoken_for)


def _named(item: Described, fits: list[Path], said: str, root: Path, policy: Policy) -> list[Path]:
    """Of several pictures the one that the labels name."""
    own = [path for path in fits if path.name == said.strip().replace("\\", "/").rpartition("/")[2]]
    if len(own) != 1:
        item.faults.append(("ambiguous_image", f"{fits_several(item.name, fits, root)}, and it names neither"))
        return []
    for spare in (relative_name(path, root) for path in fits if path != own[0]):
        where = f"{spare} beside {relative_name(own[0], root)}, which {item.raw.where} names"
        policy.report("same_name", where, spare)
    return own


def _pictures(root: Path) -> dict[Key, list[Path]]:
    found: dict[Key, list[Path]] = defaultdict(list)
    for path in (path for path in layout.files(root) if layout.is_image(path)):
        found[layout.key(path, root)].append(path)
    return found
