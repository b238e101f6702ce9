"""Formats whose files describe many pictures each: found by what is in them, or named by settings.

Each file is read once. One that cannot be read is reported, and the others are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from headstart.config.checks import dataset_folder
from headstart.config.schema import ListedConfig
from headstart.data import splits
from headstart.data.policy import Policy
from headstart.data.readers import formats, layout
from headstart.data.readers.described import conclude, split_of_file
from headstart.data.readers.found import Described
from headstart.data.readers.layout import relative_name
from headstart.data.readers.raw import Malformed
from headstart.data.readers.units import Form
from headstart.data.types import DetectionData
from headstart.errors import UserError

Parse = Callable[[Path, Path, Policy], Iterable[Described]]
"""What a file describes, of its path, the root and the policy; raises `Malformed` where it cannot be read."""


class AnotherFormat(Malformed):
    """What is in the file is of no file of the format; no matter where nobody named it."""


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
    named = {split: getattr(config, f"{split}_file") for split in ("train", "val", "test")}
    if named["train"] is None:
        for split in ("val", "test"):
            if named[split] is not None:
                raise UserError(f"dataset.{split}_file={named[split]}: give dataset.train_file as well.")
        described = _found(root, what, type(config), may_be, parse, policy)
        return conclude(described, root, config, policy, form, class_names=class_names)
    described: list[Described] = []
    alone = len([*filter(None, named.values())]) == 1
    for name in filter(None, named.values()):
        path = _named(root, name)
        own = _of_file(path, root, parse, policy, named=True)
        described += own if alone else [replace(item, split=name) for item in own]
    # One file has all splits, if it says so
    chosen = None if alone else splits.Chosen(named["train"], named["val"], named["test"])
    return conclude(described, root, config, policy, form, chosen, class_names)


def _split(described: list[Described], of_file: str | None) -> list[Described]:
    """What stands in the file goes before its name."""
    for item in described:
        item.split = item.split or of_file
    return described


def _of_file(path: Path, root: Path, parse: Parse, policy: Policy, named: bool = False) -> list[Described]:
    """Where settings name the file, it is of no other format, but cannot be read."""
    try:
        return list(parse(path, root, policy))
    except Malformed as error:
        if isinstance(error, AnotherFormat) and not named:
            raise
        policy.report("malformed_file", f"{relative_name(path, root)}: {error}")
        return []


def _named(root: Path, name: str) -> Path:
    path = layout.join(root, name)
    if not path.is_file():
        setting = "dataset.{train,val,test}_file"
        raise UserError(f"{setting}={name}: {path} does not exist.")
    return path


def _found(
    root: Path, what: str, config: type, may_be: Callable[[Path], bool], parse: Parse, policy: Policy
) -> list[Described]:
    """UserError where no file is of the format."""
    paths = layout.files(root)
    described: list[Described] = []
    any_found = False
    for path in filter(may_be, paths):
        try:
            described += _split(_of_file(path, root, parse, policy), split_of_file(path, root))
            any_found = True
        except AnotherFormat:
            continue
    if not any_found:
        there = ", ".join(relative_name(path, root) for path in paths if not layout.is_image(path))
        shown = f"There are {there[:200]}." if there else "There are pictures alone, or nothing."
        raise UserError(
            f"dataset.root={root}: no {what} found. {shown} Name the file with dataset.train_file=…, or say another "
            f"format (docs/formats.md).{layout.packed(paths)}{formats.hint(paths, config)}"
        )
    return described
