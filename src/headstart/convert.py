"""`headstart convert`: a data set, written in another format, whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from rich.progress import Progress

from headstart.config.checks_verbs import check_conversion
from headstart.config.schema import (
    CocoConfig,
    ConvertConfig,
    FileDatasetConfig,
    Format,
    Ignored,
    Overlap,
    VocConfig,
    YoloConfig,
)
from headstart.data import catalog, info
from headstart.data.show import dataset_report
from headstart.data.types import AnnotatedImage, DetectionData
from headstart.data.writers import coco, voc, yolo
from headstart.data.writers.losses import Loss
from headstart.data.writers.pictures import Put
from headstart.errors import UserError
from headstart.quoting import quoted, shown
from headstart.replacing import whole_folder
from headstart.say import console, say

READERS: dict[Format, type[FileDatasetConfig]] = {
    Format.coco: CocoConfig,
    Format.voc: VocConfig,
    Format.yolo: YoloConfig,
}


def convert(config: ConvertConfig) -> list[Loss]:
    """Writes the data set, reads it back, and says what the format cannot hold.

    Raises `UserError` where a file cannot be read or written; then nothing of the new folder is left.
    """
    check_conversion(config)
    data = catalog.read(config.dataset, config.seed)
    for table in dataset_report(info.describe(data, config.dataset), config.dataset):
        say(table)
    losses: list[Loss] = []
    target = Path(config.folder).expanduser().absolute()
    with whole_folder(target, "folder") as folder:
        _write(data, folder, config, losses)
        _check_held(data, _read_back(data, folder, config), config, losses)
    for line in _lines(data, config, losses):
        say(line)
    return losses


def _write(data: DetectionData, folder: Path, config: ConvertConfig, losses: list[Loss]) -> None:
    total = sum(map(len, data.splits.values()))
    with Progress(console=console, transient=True, disable=not config.enable_progress_bar) as progress:
        task = progress.add_task(f"writing {config.to.value}", total=total)
        put = Put(config.link, partial(progress.advance, task))
        if config.to is Format.yolo:
            yolo.write(data, folder, losses.append, put, config.ignored)
        else:
            {Format.coco: coco.write, Format.voc: voc.write}[config.to](data, folder, losses.append, put)


def _read_back(data: DetectionData, folder: Path, config: ConvertConfig) -> DetectionData:
    reader = READERS[config.to](name=data.name, root=str(folder), overlap=Overlap.keep)
    reader.max_pixels = getattr(config.dataset, "max_pixels", reader.max_pixels)
    return catalog.read(reader, config.seed)


def _check_held(data: DetectionData, back: DetectionData, config: ConvertConfig, losses: list[Loss]) -> None:
    """UserError where pictures or objects are gone, and no setting or loss says so."""
    said = {"test"} if any(loss.kind == "test_split" for loss in losses) else set()
    for split in data.splits.keys() - said if config.ignored is Ignored.keep else ():
        pictures = data.splits[split]
        held = [_counts(part) for part in (pictures, back.splits.get(split, []))]
        if held[0] != held[1]:
            raise UserError(
                f"The split {split} has {held[0]} pictures and objects, and what was written of it {held[1]}: this is "
                "a mistake of Headstart, or a disk's. Nothing was kept; please report it."
            )


def _counts(pictures: Sequence[AnnotatedImage]) -> tuple[int, int]:
    return len(pictures), sum(len(image.labels) for image in pictures)


def _lines(data: DetectionData, config: ConvertConfig, losses: list[Loss]) -> Iterator[str]:
    form = config.to.value
    yield f"Written as {form}, and read back: {config.folder}"
    yield "Boxes alone are written: no outlines, no key points."
    for loss in losses:
        yield f"Not held by {form}: {loss.count:,} {loss.what}; {loss.instead}."
    words = [_word("dataset.root", config.folder)]
    if any(loss.kind in ("unused_class", "class_order") for loss in losses) and config.to is Format.voc:
        names = ",".join(quoted(name) for name in voc.held_names(data.class_names))
        words.append(shown(f"dataset.class_names=[{names}]"))
    yield f"Train on it: headstart train dataset={form}_folder {' '.join(words)}"


def _word(key: str, text: str) -> str:
    """A setting as it has to be typed."""
    return f"{key}={text}" if re.fullmatch(r"[\w./-]+", text, re.ASCII) else shown(f"{key}={quoted(text)}")
