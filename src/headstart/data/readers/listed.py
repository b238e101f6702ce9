"""Formats whose files describe many pictures each: found by what is in them, or named by settings.

Each file is read once. One that cannot be read is reported, and the others are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from headstart.config.checks import dataset_folder
from headstart.config.schema import ListedConfig
from headstart.data import splits
from headstart.data.policy import Policy
from headstart.data.readers import formats, layout
from headstart.data.readers.described import conclude, split_of_file
from headstart.data.readers.found import Described
from headstart.data.readers.inside import fence
from headstart.data.readers.layout import relative_name
from headstart.data.readers.raw import Malformed
from headstart.data.readers.units import Form
from headstart.data.types import DetectionData
from headstart.errors import UserError

Parse = Callable[[Path, Path, Policy], Iterable[Described]]
"""What a file describes, of its path, the root and the policy; raises `Malformed` where it cannot be read."""


class AnotherFormat(Malformed):
    """What is in the file is of no file of the format; no matter where nobody named it."""


@dataclass(frozen=True)
class Source:
    """An annotation file."""

    path: Path
    split: str | None
    """What it is called after."""
    named: bool = False
    """Whether settings name it."""
    stated: bool = False
    """Whether settings say its split: that goes before what stands in the file, which goes before its name."""

    def split_of(self, said: str | None) -> str | None:
        """Of a picture, of which the file says `said`."""
        return self.split if self.stated else said or self.split


def read(
    config: ListedConfig,
    policy: Policy | None,
    what: str,
    may_be: Callable[[Path], bool],
    parse: Parse,
    form: Form = Form.corners,
    class_names: Iterable[str] = (),
) -> DetectionData:
    """`what`: the files, for people; `may_be`: whether a file may be one, by its name."""
    root, policy = dataset_folder(config), policy or Policy(config.on)
    found, chosen = sources(config, root, what, may_be)
    parts = [_described(source, root, parse, policy) for source in found]
    if all(part is None for part in parts):
        raise UserError(_none(root, what, config))
    described = [item for part in parts for item in part or ()]
    broken = [relative_name(source.path, root) for source, part in zip(found, parts, strict=True) if part == []]
    return conclude(described, root, config, policy, form, chosen, class_names, broken)


def _described(source: Source, root: Path, parse: Parse, policy: Policy) -> list[Described] | None:
    """None where it is of another format; a file that settings name is not, but cannot be read."""
    try:
        described = list(parse(source.path, root, policy))
    except Malformed as error:
        if isinstance(error, AnotherFormat) and not source.named:
            return None
        policy.report("malformed_file", f"{relative_name(source.path, root)}: {error}")
        return []
    for item in described:
        item.split = source.split_of(item.split)
    return described


def sources(
    config: ListedConfig, root: Path, what: str, may_be: Callable[[Path], bool]
) -> tuple[list[Source], splits.Chosen | None]:
    """The files, found or named by settings, and the splits where settings name those."""
    named = {split: getattr(config, f"{split}_file") for split in ("train", "val", "test")}
    if named["train"] is None:
        for split in ("val", "test"):
            if named[split] is not None:
                raise UserError(f"dataset.{split}_file={named[split]}: give dataset.train_file as well.")
        found = [
            Source(path, split_of_file(path, root)) for path in layout.files(root, fence(root, config)) if may_be(path)
        ]
        if not found:
            raise UserError(_none(root, what, config))
        return found, None
    names = [name for name in named.values() if name]
    if len(names) == 1:  # it has all splits, if it says so
        return [Source(_named(root, names[0]), None, named=True)], None
    chosen = splits.Chosen(named["train"], named["val"], named["test"])
    return [Source(_named(root, name), name, named=True, stated=True) for name in names], chosen


def _named(root: Path, name: str) -> Path:
    path = layout.join(root, name)
    if not path.is_file():
        setting = "dataset.{train,val,test}_file"
        raise UserError(f"{setting}={name}: {path} does not exist.")
    return path


def _none(root: Path, what: str, config: ListedConfig) -> str:
    bounds = fence(root, config)
    paths = layout.files(root, bounds)
    there = ", ".join(relative_name(path, root) for path in paths if not layout.is_image(path))
    shown = f"There are {there[:200]}." if there else "There are pictures alone, or nothing."
    return (
        f"dataset.root={root}: no {what} found. {shown} Name the file with dataset.train_file=…, or say another "
        f"format (docs/formats.md).{layout.packed(paths)}{formats.hint(paths, type(config))}"
        f"{layout.leading_out(bounds)}"
    )
