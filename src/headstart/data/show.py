"""The data as the user sees it before training: what each split holds, and what is strange or left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from headstart.config.schema import DatasetConfig, FileDatasetConfig
from headstart.data.types import DatasetInfo

UNUSED = {
    "no_label": "pictures without annotations",
    "other_folder": "pictures in other folders than those in use",
    "not_listed": "pictures beside those in use",
    "no_picture": "label files without a picture",
    "other_annotations": "annotation files beside those in use",
    "split_list": "lists called after a split, which this format does not read",
    "unknown_suffix": "files with a suffix that is not read",
    "too_many_files": "files in all, too many to look for unused ones",
}
"""Reason -> what the files are."""
_CLASSES = {
    "class_unused": "Without a box that trains, in any split",
    "class_train_only": "In train only, so that no mAP measures them",
    "class_not_in_train": "Not in train: nothing is learnt of them, and they count in mAP",
}
_NAMES_SHOWN = 10
_LONGEST_WORD = len("dataset.split_seed=0")


def dataset_report(info: DatasetInfo, config: DatasetConfig) -> list[RenderableType]:
    """A table of the splits; below it classes that some lack, files that are not used, settings without effect."""
    lines = [f"- {line}" for line in (*_classes(info), *_unused(info), *_idle_draws(info, config))]
    return [dataset_table(info), *([Text("\n".join(lines))] if lines else [])]


def dataset_table(info: DatasetInfo) -> Table:
    """A row for each split."""
    title = Text(f"Data: {info.name}")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    table.add_column("split")
    for name in ("pictures", "negatives", "boxes", "ignored", "classes"):
        table.add_column(name, justify="right")
    table.add_column("from", overflow="fold", min_width=_LONGEST_WORD)
    for split, images in info.num_images.items():
        boxes = info.num_boxes[split]
        seen = sum(count > 0 for count in boxes.values())
        table.add_row(
            *(split, f"{images:,}", f"{info.num_negatives[split]:,}", f"{sum(boxes.values()):,}"),
            *(ignored(info, split) or "0", f"{seen:,} of {len(boxes):,}", Text(info.splits_from[split])),
        )
    return table


def ignored(info: DatasetInfo, split: str) -> str:
    """`3 crowd, 1 difficult`; empty where none is ignored."""
    counts = info.num_ignored[split].items()
    return ", ".join(f"{count:,} {kind}" for kind, count in counts if count)


def _classes(info: DatasetInfo) -> Iterator[str]:
    """Of each class that one split alone has, or that train lacks."""
    for kind, names in class_gaps(info).items():
        if names:
            yield f"{_CLASSES[kind]}: {_some(names, _NAMES_SHOWN)}"


def class_gaps(info: DatasetInfo) -> dict[str, list[str]]:
    """`class_unused`, `class_train_only`, `class_not_in_train` -> names."""
    where = {name: [split for split in info.num_boxes if info.num_boxes[split][name]] for name in info.class_names}
    unlearnt = [_with_splits(info, name) for name, splits in where.items() if splits and "train" not in splits]
    return {
        "class_unused": [name for name, splits in where.items() if not splits],
        "class_train_only": [name for name, splits in where.items() if splits == ["train"]],
        "class_not_in_train": unlearnt,
    }


def _with_splits(info: DatasetInfo, name: str) -> str:
    counts = {split: boxes[name] for split, boxes in info.num_boxes.items() if boxes[name]}
    return f"{name} ({', '.join(f'{split}: {count}' for split, count in counts.items())})"


def _unused(info: DatasetInfo) -> Iterator[str]:
    for reason, files in info.unused.items():
        more = ", …" if files.count > len(files.first) else ""
        where = f" ({', '.join(files.first)}{more})" if files.first else ""
        yield f"Not used, {UNUSED[reason]}: {files.count:,}{where}"


def _idle_draws(info: DatasetInfo, config: DatasetConfig) -> Iterator[str]:
    """Each setting that would draw a split, and does not; `runs/idle.py` cannot know what is found."""
    if not isinstance(config, FileDatasetConfig) or any("drawn" in words for words in info.splits_from.values()):
        return
    usual = {field.name: field.default for field in dataclasses.fields(config)}
    for name in ("split_seed", "val_fraction"):
        if getattr(config, name) != usual[name]:
            yield f"dataset.{name}={getattr(config, name)} has no effect: the data set has its own splits."


def _some(names: Sequence[str], shown: int) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
