"""From pictures as annotation files describe them to the data set: the files are found, the splits are told apart.

For the formats whose files name their pictures. A name is looked for among the files below the root alone, so nothing
outside of it is ever opened: beside the annotation file, then from the root, then by the end of the path, where exactly
one picture fits. A picture in the folder of another split is another picture.

The split is what the file says of the picture (a column, a subset), or a word of the annotation file's name, or a list
(`train.txt`, with names of pictures), or a folder's name.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.config.schema import FileDatasetConfig
from headstart.data import splits
from headstart.data.policy import Policy
from headstart.data.readers import layout, tree
from headstart.data.readers.coco_folders import kind_of
from headstart.data.readers.common import assemble, check_labelled, check_missing
from headstart.data.readers.layout import Tails, relative_name
from headstart.data.readers.raw import RawData, RawImage
from headstart.data.readers.units import Form
from headstart.data.types import DetectionData
from headstart.errors import UserError


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


def describe(name: str, file: Path, root: Path, split: str | None = None) -> Described:
    """A picture without objects so far."""
    return Described(name, file, RawImage(file, relative_name(file, root)), split)


def conclude(
    described: Sequence[Described],
    root: Path,
    config: FileDatasetConfig,
    policy: Policy,
    form: Form = Form.corners,
    chosen: splits.Chosen | None = None,
    class_names: Iterable[str] = (),
) -> DetectionData:
    """`chosen`: where settings name the file of each split, which `Described.split` then is called after.

    `class_names`: in their order, where the format has one, else they are sorted.
    """
    _find(described, root, policy)
    by_split = _by_split(described, root, policy)
    if chosen is None:
        labelled = {name: any(item.labelled and item.found for item in items) for name, items in by_split.items()}
        chosen = splits.choose(by_split, config, labelled.__getitem__)
        _look_at_rest(described, by_split, chosen, root, config, policy)
    raw = RawData(chosen, policy=policy, form=form)
    taken = {ours: by_split.get(name, []) for ours, name in (("val", chosen.val), ("test", chosen.test)) if name}
    elsewhere = {id(item) for items in taken.values() for item in items}
    everything = [item for item in described if id(item) not in elsewhere]
    train = everything if chosen.train == splits.ALL else by_split.get(chosen.train, [])
    for split, items in {"train": train, **taken}.items():
        raw.splits[split] = _of_split(split, items, root, policy)
    raws = [image for images in raw.splits.values() for image in images]
    raw.class_names = list(class_names) or sorted({name for image in raws for name in image.classes})
    return assemble(raw, root, config)


def _look_at_rest(
    described: Sequence[Described],
    by_split: dict[str, list[Described]],
    chosen: splits.Chosen,
    root: Path,
    config: FileDatasetConfig,
    policy: Policy,
) -> None:
    """What is of no split: all of it trains, or none."""
    known = {id(item) for items in by_split.values() for item in items}
    rest = [item for item in described if id(item) not in known]
    if chosen.train == splits.ALL:
        _refuse_many(rest, root, config)
        return
    for file in dict.fromkeys(item.file for item in rest if item.labelled):
        policy.report("unused_annotations", relative_name(file, root))


def _of_split(split: str, items: Sequence[Described], root: Path, policy: Policy) -> list[RawImage]:
    missing = [item for item in items if not item.found]
    where = items[0].file if items and len({item.file for item in items}) == 1 else root
    check_missing(split, where, [item.name for item in missing], len(items))
    for item in missing:
        policy.report("missing_image", f"{item.raw.where}: {item.name}", item.name)
    there = [item for item in items if item.found]
    labelled = [item.raw for item in there if item.labelled]
    check_labelled(split, [item.raw.path for item in there], len(labelled), "a label of the same name")
    for item in there:
        if not item.labelled:
            policy.report("missing_annotation", item.name, item.name)
    return labelled


def _refuse_many(rest: Sequence[Described], root: Path, config: FileDatasetConfig) -> None:
    """Several files that describe the same pictures: which one counts, or whether all do, is not to be guessed."""
    files: dict[Path, list[Path]] = defaultdict(list)
    for item in rest:
        if item.found and item.file not in files[item.raw.path]:
            files[item.raw.path].append(item.file)
    several = list(dict.fromkeys(file for found in files.values() if len(found) > 1 for file in found))
    if several and config.train_split is None:
        listed = ", ".join(relative_name(file, root) for file in several[:9])
        raise UserError(
            f"dataset.root={root}: {len(several)} files may be the annotations of the same pictures, and none has the "
            f"name of a split: {listed}. Say which: dataset.train_file=…, and dataset.val_file=…; or take all of them "
            f"with dataset.train_split={splits.ALL}."
        )


# ------------------------------------------------------------------------------------------------- splits


def split_of_file(path: Path, root: Path) -> str | None:
    """`train.csv`, `my-val-boxes.json`; else the name of a folder above."""
    words = re.split(r"[^A-Za-z0-9]+", path.stem)
    folders = path.relative_to(root).parts[-2::-1] if path.is_relative_to(root) else ()
    return next((word.lower() for word in (*words, *folders) if word.lower() in splits.NAMES), None)


def _by_split(described: Sequence[Described], root: Path, policy: Policy) -> dict[str, list[Described]]:
    """A picture may stand in two lists, as in `train` and `trainval`."""
    listed = _lists([item for item in described if item.found and item.split is None], root, policy)
    found: dict[str, list[Described]] = defaultdict(list)
    for item in described:
        parts = (item.raw.path.relative_to(root) if item.found else Path(item.name.replace("\\", "/"))).parts
        folder = tree.split_of(parts[:-1])
        said = [item.split] if item.split else listed.get(id(item)) or [folder]
        for split in filter(None, said):
            found[split].append(item)
    return dict(found)


def _lists(described: Sequence[Described], root: Path, policy: Policy) -> dict[int, list[str]]:
    """Which lists each is in. A file without the name of any picture is no list."""
    lists = [path for path in layout.files(root) if path.suffix.lower() == ".txt" and path.stem.lower() in splits.NAMES]
    named = [(item.raw.path.relative_to(root).parts, item) for item in described] if lists else []
    tails: Tails[Described] = Tails(((*parts[:-1], layout.stem(parts[-1])), item) for parts, item in named)
    listed: dict[int, list[str]] = defaultdict(list)
    for path in lists:
        lines = [(f"{relative_name(path, root)}:{number}", line) for number, line in layout.read_lines(path)]
        found = [_listed(line, tails, f"{root}/{where}") for where, line in lines]
        for (where, line), items in zip(lines, found, strict=True):
            if not items and any(found):
                policy.report("missing_annotation", f"{where}: {line}")
            for item in items:
                if path.stem.lower() not in listed[id(item)]:
                    listed[id(item)].append(path.stem.lower())
    return listed


def _listed(line: str, tails: Tails[Described], where: str) -> list[Described]:
    fits = tails.find(layout.stem(line))
    if len({item.raw.path for item in fits}) > 1:
        shown = " and ".join(str(item.raw.path) for item in fits[:2])
        raise UserError(f"{where}: {line!r} fits {len(fits)} pictures, such as {shown}; write the one it is.")
    return fits


# ---------------------------------------------------------------------------------------------- pictures


def _find(described: Sequence[Described], root: Path, policy: Policy) -> None:
    pictures = [path for path in layout.files(root) if layout.is_image(path)]
    known = set(pictures)
    tails: Tails[Path] = Tails((path.relative_to(root).parts, path) for path in pictures)
    for item in described:
        if item.found:
            continue
        path = _exact(item, root, known) or _by_end(item, root, tails, policy)
        if path is not None:
            item.raw.path, item.found = path, True


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
        shown = " and ".join(relative_name(path, root) for path in fits[:2])
        raise UserError(
            f"{item.file}: {item.name!r} fits {len(fits)} pictures, such as {shown}: write the path of the one it is, "
            "relative to the file or to dataset.root."
        )
    if not fits:
        return None
    name = relative_name(fits[0], root)
    written = item.name.replace("\\", "/").removeprefix("./")
    if not f"/{name}".endswith(f"/{written}"):
        policy.report("other_path", f"{item.raw.where}: {item.name} is {name}", name)
    return fits[0]
