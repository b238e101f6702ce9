"""Formats whose files describe many pictures each: found by what is in them, or named by settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from headstart.config.checks import dataset_folder
from headstart.config.schema import ListedConfig
from headstart.data import splits
from headstart.data.policy import Policy
from headstart.data.readers import formats, layout
from headstart.data.readers.described import Described, conclude, split_of_file
from headstart.data.readers.inside import fence
from headstart.data.readers.layout import relative_name
from headstart.data.readers.units import Form
from headstart.data.types import DetectionData
from headstart.errors import UserError


@dataclass(frozen=True)
class Source:
    """An annotation file."""

    path: Path
    split: str | None
    """What it is called after."""
    stated: bool = False
    """Whether settings say so: that goes before what stands in the file, which goes before its name."""

    def split_of(self, said: str | None) -> str | None:
        """Of a picture, of which the file says `said`."""
        return self.split if self.stated else said or self.split


def read(
    config: ListedConfig,
    policy: Policy | None,
    what: str,
    is_one: Callable[[Path], bool],
    parse: Callable[[Path, Path, Policy], Iterable[Described]],
    form: Form = Form.corners,
    class_names: Iterable[str] = (),
) -> DetectionData:
    """`what`: the files, for people; `is_one`: whether a file is one, or UserError; `parse` takes it, root, policy."""
    root, policy = dataset_folder(config), policy or Policy(config.on)
    found, chosen = sources(config, root, what, is_one)
    described = []
    for source in found:
        for item in parse(source.path, root, policy):
            item.split = source.split_of(item.split)
            described.append(item)
    return conclude(described, root, config, policy, form, chosen, class_names)


def sources(
    config: ListedConfig, root: Path, what: str, is_one: Callable[[Path], bool]
) -> tuple[list[Source], splits.Chosen | None]:
    """The files, found or named by settings, and the splits where settings name those."""
    named = {split: getattr(config, f"{split}_file") for split in ("train", "val", "test")}
    if named["train"] is None:
        for split in ("val", "test"):
            if named[split] is not None:
                raise UserError(f"dataset.{split}_file={named[split]}: give dataset.train_file as well.")
        return [Source(path, split_of_file(path, root)) for path in _found(root, what, config, is_one)], None
    names = [name for name in named.values() if name]
    if len(names) == 1:  # it has all splits, if it says so
        return [Source(_named(root, names[0]), None)], None
    chosen = splits.Chosen(named["train"], named["val"], named["test"])
    return [Source(_named(root, name), name, stated=True) for name in names], chosen


def _named(root: Path, name: str) -> Path:
    path = layout.join(root, name)
    if not path.is_file():
        setting = "dataset.{train,val,test}_file"
        raise UserError(f"{setting}={name}: {path} does not exist.")
    return path


def _may_be(path: Path, is_one: Callable[[Path], bool]) -> bool:
    """What cannot be read may be one: it is refused when it is parsed."""
    try:
        return is_one(path)
    except UserError:
        return True


def _found(root: Path, what: str, config: ListedConfig, is_one: Callable[[Path], bool]) -> list[Path]:
    bounds = fence(root, config)
    paths = layout.files(root, bounds)
    found = [path for path in paths if _may_be(path, is_one)]
    if not found:
        there = ", ".join(relative_name(path, root) for path in paths if not layout.is_image(path))
        shown = f"There are {there[:200]}." if there else "There are pictures alone, or nothing."
        hints = layout.packed(paths), formats.hint(paths, type(config)), layout.leading_out(bounds)
        raise UserError(
            f"dataset.root={root}: no {what} found. {shown} Name the file with dataset.train_file=…, or say another "
            f"format (docs/formats.md).{''.join(hints)}"
        )
    return found
