"""Parquet files of Hugging Face `datasets`: a row a picture, its bytes or its path, and its objects.

`image` is {bytes, path}, bytes alone, or a path beside the files; `objects` holds lists, or is a list of objects, or
stands in columns of its own. Names of classes are in the schema (`ClassLabel`), else in README.md. A row whose objects
are null is a picture that nobody labelled; one whose lists are empty is a negative. Splits are told by the files' names
(`data/train-00000-of-00003.parquet`, `train/0000.parquet`), or by a column `split`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart import limits
from headstart.config.checks import dataset_folder
from headstart.config.schema import HuggingFaceConfig
from headstart.data import splits
from headstart.data.policy import Policy
from headstart.data.readers import hugging_face_objects as objects
from headstart.data.readers import inside, listed, parquet_pictures, tree, unused
from headstart.data.readers.described import conclude
from headstart.data.readers.found import Described, describe
from headstart.data.readers.geometry import size_of
from headstart.data.readers.json_files import show
from headstart.data.readers.layout import relative_name
from headstart.data.readers.listed import Source
from headstart.data.readers.parquet_columns import Columns, columns_of
from headstart.data.readers.parquet_files import Head, look, rows
from headstart.data.readers.parquet_pictures import Shard
from headstart.data.readers.units import Form
from headstart.data.types import DetectionData
from headstart.errors import UserError

_ROWS_AT_ONCE = 32


def read(config: HuggingFaceConfig, policy: Policy, names: Mapping[str, str]) -> DetectionData:
    """`names`: number of a class -> its name, of README.md. UserError names the file and the row."""
    root = dataset_folder(config)
    found, chosen = listed.sources(config, root, "parquet files", lambda path: path.suffix.lower() == ".parquet")
    shards = _shards(found, root, policy)
    if chosen is None and config.train_file is None:
        _check_one_set([shard.head.path for shard in shards], root)
    names = _class_names(shards) or names
    folder = parquet_pictures.unpacked(shards, root)
    described: list[Described] = []
    for shard in shards:
        described += _described(shard, root, names, policy, parquet_pictures.find(shard, folder))
    if folder is None:
        return conclude(described, root, config, policy, Form.xywh, chosen, names.values())
    bounds = inside.fence(root, config)
    tree.report(root, policy, bounds.bound)
    data = conclude(described, folder, config, policy, Form.xywh, chosen, names.values())
    return replace(data, unused=unused.find(bounds, [], {item.raw.where for item in described}))


def split_of(value: Any) -> str | None:
    """What a row says of itself."""
    return value.strip().lower() or None if isinstance(value, str) else None


# ------------------------------------------------------------------------------------------------- files


def _shards(found: Sequence[Source], root: Path, policy: Policy) -> list[Shard]:
    """The files that hold pictures and boxes, each with its place among those of its split."""
    heads = [(source, look(source.path)) for source in found]
    told = [(source, head, columns_of(head)) for source, head in heads]
    kept = [(source, head, columns) for source, head, columns in told if columns is not None]
    if not kept:
        there = ", ".join(heads[0][1].schema.names)
        raise UserError(
            f"{heads[0][1].path}: has the columns {there[:200] or 'nothing'}; pictures (image) and their boxes "
            "(objects, with bbox and category) are needed."
        )
    for source, _, columns in told:
        if columns is None:
            policy.report("unused_annotations", relative_name(source.path, root))
    first = kept[0]
    before: Counter[str] = Counter()
    shards = []
    for source, head, columns in kept:
        if columns != first[2]:
            raise UserError(
                f"{head.path} and {first[1].path} have different columns ({columns} and {first[2]}): name the files of "
                "one data set with dataset.train_file=…, or set dataset.root to its folder."
            )
        folder = _folder(source, found)
        shards.append(Shard(source, head, columns, folder, before[folder]))
        before[folder] += head.num_rows
    return shards


def _folder(source: Source, found: Sequence[Source]) -> str:
    """Of its pictures. What settings name may be any path."""
    return f"file{found.index(source)}" if source.stated else source.split or "all"


_SHARD = re.compile(r"(.*?)-?(\d{5})-of-(\d{5})(?:-[0-9a-f]{16})?")
"""As `datasets` names the files of a split: `train-00000-of-00003`; older versions put a hash behind."""


def _check_one_set(paths: Sequence[Path], root: Path) -> None:
    """UserError for the files of several data sets, or not all files of one."""
    sets: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    parts: dict[tuple[Path, str, int], set[int]] = defaultdict(set)
    for path in paths:
        sets[_set_of(path, root)].append(path)
        if match := _SHARD.fullmatch(path.stem):
            parts[path.parent, match[1], int(match[3])].add(int(match[2]))
    if len(sets) > 1:
        shown = " and ".join(f"{'/'.join(key) or '.'} ({relative_name(own[0], root)})" for key, own in sets.items())
        raise UserError(
            f"dataset.root={root}: holds {len(sets)} data sets: {shown[:400]}. Choose one: dataset.root=<its folder>, "
            "or dataset.train_file=<file>, and dataset.val_file=<file>."
        )
    for (folder, name, total), numbers in parts.items():
        if missing := sorted({*range(min(total, limits.FOOTER_ITEMS))} - numbers):
            raise UserError(
                f"{folder / name}: {len(missing)} of its {total} files are not there, such as number {missing[0]:05}; "
                "fetch them."
            )


def _set_of(path: Path, root: Path) -> tuple[str, ...]:
    """What folders and name say beside the split and the number of the file."""
    match = _SHARD.fullmatch(path.stem)
    words = re.split(r"[^A-Za-z0-9]+", match[1] if match else path.stem)
    folders = path.relative_to(root).parts[:-1] if path.is_relative_to(root) else ()
    known = {*splits.NAMES, "data", ""}
    return tuple(word for word in (*folders, *words) if word.lower() not in known and not word.isdigit())


def _class_names(shards: Sequence[Shard]) -> dict[str, str]:
    """As the schemas say, in their order; empty where they do not."""
    first: tuple[Path, dict[str, str]] | None = None
    for shard in shards:
        names = _of_features(shard.head, shard.columns)
        first = first or (shard.head.path, names)
        if names != first[1]:
            raise UserError(
                f"{shard.head.path} and {first[0]}: their numbers mean different classes ({show([*names.values()])} "
                f"and {show([*first[1].values()])}); fetch both from one version of the data set."
            )
    return first[1] if first else {}


def _of_features(head: Head, columns: Columns) -> dict[str, str]:
    features = head.features if isinstance(head.features, dict) else {}
    names = next(objects.class_labels(_below(features.get(columns.of_classes), columns.classes)), {})
    if len(names) > limits.CLASSES:
        raise UserError(f"{head.path}: names {len(names):,} classes, and may name {limits.CLASSES:,}.")
    return names


def _below(content: Any, key: str, depth: int = 0) -> Any:
    """What is called `key` within the features of a column; all of them where the column is it."""
    if isinstance(content, dict) and key in content:
        return content[key]
    below = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    found = (_below(value, key, depth + 1) for value in below if depth < 5)
    return next((value for value in found if value is not None), None)


# -------------------------------------------------------------------------------------------------- rows


def _described(
    shard: Shard, root: Path, names: Mapping[str, str], policy: Policy, pictures: Mapping[str, Path] | None
) -> Iterator[Described]:
    """`pictures`: number of a row -> its file; None where the rows name files."""
    columns, path = shard.columns, shard.head.path
    where = relative_name(path, root)
    for number, row in rows(shard.head, columns.leaves, _ROWS_AT_ONCE, limits.LABEL_BYTES):
        name = shard.name(number) if pictures is not None else columns.path_in(row)
        if not isinstance(name, str) or not name.strip():
            policy.report("unnamed_image", f"{where}: row {number}: {columns.picture} is {show(name)}")
            continue
        item = describe(name, path, root, shard.source.split_of(split_of(row.get("split"))))
        item.raw.size_wh = size_of(row.get("width"), row.get("height"))
        if pictures is not None and name in pictures:
            item.raw.path, item.found = pictures[name], True
        said = columns.objects_in(row)
        item.labelled = said is not None
        if said is not None:
            objects.add(item, said, names, f"row {number}")
        yield item
