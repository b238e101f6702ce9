"""Formats whose files describe many pictures each: found by what is in them, or named by settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from headstart.config.checks import dataset_folder
from headstart.config.schema import ListedConfig
from headstart.data import splits
from headstart.data.policy import Policy
from headstart.data.readers import formats, layout
from headstart.data.readers.described import Described, conclude, split_of_file
from headstart.data.readers.layout import relative_name
from headstart.data.readers.units import Form
from headstart.data.types import DetectionData
from headstart.errors import UserError


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
    named = {split: getattr(config, f"{split}_file") for split in ("train", "val", "test")}
    if named["train"] is None:
        for split in ("val", "test"):
            if named[split] is not None:
                raise UserError(f"dataset.{split}_file={named[split]}: give dataset.train_file as well.")
        paths = _found(root, what, type(config), is_one)
        described = [item for path in paths for item in _of_file(path, root, split_of_file(path, root), parse, policy)]
        return conclude(described, root, config, policy, form, class_names=class_names)
    described = []
    alone = len([*filter(None, named.values())]) == 1
    for name in filter(None, named.values()):
        described += _of_file(_named(root, name), root, None if alone else name, parse, policy, stated=not alone)
    # One file has all splits, if it says so
    chosen = None if alone else splits.Chosen(named["train"], named["val"], named["test"])
    return conclude(described, root, config, policy, form, chosen, class_names)


def _of_file(
    path: Path,
    root: Path,
    split: str | None,
    parse: Callable[[Path, Path, Policy], Iterable[Described]],
    policy: Policy,
    stated: bool = False,
) -> list[Described]:
    """What stands in the file goes before its name, but not before a setting."""
    described = list(parse(path, root, policy))
    for item in described:
        item.split = split if stated else item.split or split
    return described


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


def _found(root: Path, what: str, config: type, is_one: Callable[[Path], bool]) -> list[Path]:
    paths = layout.files(root)
    found = [path for path in paths if _may_be(path, is_one)]
    if not found:
        there = ", ".join(relative_name(path, root) for path in paths if not layout.is_image(path))
        shown = f"There are {there[:200]}." if there else "There are pictures alone, or nothing."
        raise UserError(
            f"dataset.root={root}: no {what} found. {shown} Name the file with dataset.train_file=…, or say another "
            f"format (docs/formats.md).{layout.packed(paths)}{formats.hint(paths, config)}"
        )
    return found
