"""From pictures as annotation files describe them to the data set: the files are found, the splits are told apart.

For the formats whose files name their pictures (`found.py`). The split is what the file says of the picture (a column,
a subset), or a word of the annotation file's name, or a list (`train.txt`, with names of pictures), or a folder's name.
What cannot be read of a picture, or of an object, is reported where its split is in use.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from headstart.config.kinds import Action
from headstart.config.schema import FileDatasetConfig
from headstart.data import splits
from headstart.data.policy import Policy
from headstart.data.readers import layout, tree
from headstart.data.readers.common import assemble, check_labelled, check_missing
from headstart.data.readers.found import Described, find, fits_several, undescribed
from headstart.data.readers.layout import Tails, relative_name
from headstart.data.readers.raw import RawData, RawImage
from headstart.data.readers.units import Form
from headstart.data.types import DetectionData


def conclude(
    described: list[Described],
    root: Path,
    config: FileDatasetConfig,
    policy: Policy,
    form: Form = Form.corners,
    chosen: splits.Chosen | None = None,
    class_names: Iterable[str] = (),
    broken: Iterable[str] = (),
) -> DetectionData:
    """`chosen`: where settings name the file of each split, which `Described.split` then is called after.

    `class_names`: in their order, where the format has one, else they are sorted; `broken`: files that describe none.
    """
    find(described, root, policy)
    by_split = _by_split(described, root, policy)
    if chosen is None:
        labelled = {name: any(item.labelled and item.found for item in items) for name, items in by_split.items()}
        chosen = splits.choose(by_split, config, labelled.__getitem__)
        if chosen.train != splits.ALL:
            _report_unused(described, by_split, root, policy)
    raw = RawData(chosen, policy=policy, form=form, broken={*broken})
    taken = {ours: by_split.get(name, []) for ours, name in (("val", chosen.val), ("test", chosen.test)) if name}
    elsewhere = {id(item) for items in taken.values() for item in items}
    everything = [item for item in described if id(item) not in elsewhere]
    train = everything if chosen.train == splits.ALL else by_split.get(chosen.train, [])
    for split, items in {"train": train, **taken}.items():
        raw.splits[split] = _of_split(split, items, root, policy)
    raws = [image for images in raw.splits.values() for image in images]
    raw.class_names = list(class_names) or sorted({name for image in raws for name in image.classes})
    return assemble(raw, root, config)


def _report_unused(
    described: Sequence[Described], by_split: dict[str, list[Described]], root: Path, policy: Policy
) -> None:
    """The files that describe what is of no split."""
    known = {id(item) for items in by_split.values() for item in items}
    rest = [item for item in described if id(item) not in known]
    for file in dict.fromkeys(item.file for item in rest if item.labelled):
        policy.report("unused_annotations", relative_name(file, root))


def _of_split(split: str, items: Sequence[Described], root: Path, policy: Policy) -> list[RawImage]:
    missing = [item for item in items if not (item.found or item.faults)]
    where = items[0].file if items and len({item.file for item in items}) == 1 else root
    check_missing(split, where, [item.name for item in missing], len(items))
    for item in missing:
        policy.report("missing_image", f"{item.raw.where}: {item.name}", item.name)
    there = [item for item in items if item.found]
    num_labelled = sum(item.labelled for item in there)
    check_labelled(split, [item.raw.path for item in there], num_labelled, "a label of the same name")
    for item in items:
        item.read(policy)
    return [item.raw for item in there if item.labelled or _is_negative(item, policy)]


def _is_negative(item: Described, policy: Policy) -> bool:
    return policy.report("missing_annotation", item.image, item.image) is Action.keep


# ------------------------------------------------------------------------------------------------- splits


def split_of_file(path: Path, root: Path) -> str | None:
    """`train.csv`, `my-val-boxes.json`; else the name of a folder above."""
    words = re.split(r"[^A-Za-z0-9]+", path.stem)
    folders = path.relative_to(root).parts[-2::-1] if path.is_relative_to(root) else ()
    return next((word.lower() for word in (*words, *folders) if word.lower() in splits.NAMES), None)


def _by_split(described: list[Described], root: Path, policy: Policy) -> dict[str, list[Described]]:
    """A picture may stand in two lists, as in `train` and `trainval`; one that lists alone name is added."""
    listed = _lists(described, root, policy)
    found: dict[str, list[Described]] = defaultdict(list)
    for item in described:
        parts = (item.raw.path.relative_to(root) if item.found else Path(item.name.replace("\\", "/"))).parts
        folder = tree.split_of(parts[:-1])
        said = [item.split] if item.split else listed.get(id(item)) or [folder]
        for split in filter(None, said):
            found[split].append(item)
    return dict(found)


def _lists(described: list[Described], root: Path, policy: Policy) -> dict[int, list[str]]:
    """Which lists each is in. A file without the name of any picture is no list."""
    paths = layout.files(root)
    lists = [path for path in paths if path.suffix.lower() == ".txt" and path.stem.lower() in splits.NAMES]
    if not lists or all(item.split for item in described):
        return {}
    by_path: dict[Path, list[Described]] = defaultdict(list)
    for item in (item for item in described if item.found):
        by_path[item.raw.path].append(item)
    known, others = (_tails(some, root) for some in (by_path, filter(layout.is_image, paths)))
    listed: dict[int, list[str]] = defaultdict(list)
    for path in lists:
        lines = [(f"{relative_name(path, root)}:{number}", line) for number, line in layout.read_lines(path)]
        fits = [known.find(layout.stem(line)) for _, line in lines]
        for (where, line), found in zip(lines, fits, strict=True) if any(fits) else ():
            picture = _one_of(found or others.find(layout.stem(line)), where, line, root, policy)
            if picture is not None and picture not in by_path:
                by_path[picture] = [undescribed(picture, root)]
                described += by_path[picture]
            for item in by_path[picture] if picture is not None else ():
                if path.stem.lower() not in listed[id(item)]:
                    listed[id(item)].append(path.stem.lower())
    return listed


def _tails(pictures: Iterable[Path], root: Path) -> Tails[Path]:
    named = ((path.relative_to(root).parts, path) for path in pictures)
    return Tails(((*parts[:-1], layout.stem(parts[-1])), path) for parts, path in named)


def _one_of(fits: list[Path], where: str, line: str, root: Path, policy: Policy) -> Path | None:
    """The picture that a line of a list names; that there is none, or that two may be meant, is reported."""
    if not fits:
        policy.report("missing_image", f"{where}: {line}", line)
    if len(fits) > 1:
        policy.report("ambiguous_image", f"{where}: {fits_several(line, fits, root)}")
    return fits[0] if len(fits) == 1 else None
