"""Which picture an annotation means: among the files below the root alone, so nothing outside of it is ever opened.

A name is looked for beside the annotation file, then from the root, then by the end of the path, where exactly one
picture fits. A picture in the folder of another split is another picture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.config.kinds import Action
from headstart.data.policy import Policy
from headstart.data.readers import layout, tree
from headstart.data.readers.coco_folders import kind_of
from headstart.data.readers.layout import Tails, relative_name
from headstart.data.readers.raw import Malformed, RawImage


@dataclass
class Described:
    """A picture that an annotation file describes."""

    name: str
    """As written: a path, relative to whatever."""
    file: Path
    """Where it is described; the picture itself where it is described nowhere."""
    raw: RawImage
    """Its `path` is set when the picture is found."""
    split: str | None = None
    """What the file says."""
    labelled: bool = True
    found: bool = False
    image: str = ""
    """For messages: relative to the data set's folder, or as written where it is not found."""
    faults: list[tuple[str, str]] = field(default_factory=list)
    """(kind, why) of what makes it no description of one picture: reported where its split is in use."""
    objects: list[tuple[str, Any]] = field(default_factory=list)
    """(place, what the file has there) of those that `take` is to read: where its split is in use."""
    take: Take | None = None

    def set_picture(self, path: Path, root: Path) -> None:
        self.raw.path, self.found, self.image = path, True, relative_name(path, root)

    def report(self, kind: str, place: str, why: str, policy: Policy) -> Action:
        """Of something in it: the picture is left out where the action is that."""
        return self.raw.take(policy.report(kind, f"{self.raw.where}: {place}: {why}", self.image))

    def drops(self, kind: str, place: str, why: str, policy: Policy) -> bool:
        """Whether the object is not to be used."""
        return self.report(kind, place, why, policy) in (Action.skip_box, Action.skip_image)

    def read(self, policy: Policy) -> None:
        """Its faults are reported, and its objects added where there are none; each that cannot be read is reported."""
        for kind, why in self.faults:
            self.raw.take(policy.report(kind, f"{self.raw.where}: {why}", self.image))
        if self.take is None or self.faults or not self.found:
            return
        for place, written in self.objects:
            try:
                self.take(self, place, written, policy)
            except Malformed as error:
                self.report("malformed_object", place, str(error), policy)
        self.objects = []


Take = Callable[[Described, str, Any, Policy], None]
"""Adds an object, as the file has it at a place, to the picture; raises `Malformed` where it cannot be read."""


def describe(name: str, file: Path, root: Path, split: str | None = None, take: Take | None = None) -> Described:
    """A picture without objects so far."""
    raw = RawImage(file, relative_name(file, root))
    return Described(name, file, raw, split, image=name, take=take)


def undescribed(path: Path, root: Path) -> Described:
    """A picture of which no file of labels says anything."""
    item = describe(relative_name(path, root), path, root)
    item.set_picture(path, root)
    item.labelled = False
    return item


def find(described: Sequence[Described], root: Path, policy: Policy) -> None:
    """The picture of each that has none yet; what fits two is a fault."""
    pictures = [path for path in layout.files(root) if layout.is_image(path)]
    known = set(pictures)
    tails: Tails[Path] = Tails((path.relative_to(root).parts, path) for path in pictures)
    for item in described:
        if item.found:
            continue
        path = _exact(item, root, known) or _by_end(item, root, tails, policy)
        if path is not None:
            item.set_picture(path, root)


def _exact(item: Described, root: Path, known: set[Path]) -> Path | None:
    ways = (
        layout.join(base, name)
        for name in (item.name, item.name.replace("\\", "/"))
        for base in (item.file.parent, root)
    )
    return next((path for path in ways if path in known and _may_be(item, path, root)), None)


def _may_be(item: Described, path: Path, root: Path) -> bool:
    """Whether the folders do not say that it is of another split."""
    ours, theirs = kind_of(item.split), kind_of(tree.split_of(path.relative_to(root).parts[:-1]))
    written = tree.split_of(re.split(r"[/\\]", item.name)[:-1])
    return None in (ours, theirs) or ours == theirs or written is not None


def _by_end(item: Described, root: Path, tails: Tails[Path], policy: Policy) -> Path | None:
    fits = [path for path in tails.find(item.name) if _may_be(item, path, root)]
    if len(fits) > 1:
        item.faults.append(("ambiguous_image", fits_several(item.name, fits, root)))
    if len(fits) != 1:
        return None
    name = relative_name(fits[0], root)
    written = item.name.replace("\\", "/").removeprefix("./")
    if not f"/{name}".endswith(f"/{written}"):
        policy.report("other_path", f"{item.raw.where}: {item.name} is {name}", name)
    return fits[0]


def fits_several(name: str, fits: Sequence[Path], root: Path) -> str:
    shown = " and ".join(relative_name(path, root) for path in fits[:2])
    return f"{name!r} fits {len(fits)} pictures, such as {shown}"
