"""`headstart look`: what is in a data set, before anything is trained: look.html, one file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headstart.config.schema import AugmentConfig, DatasetConfig, LookConfig, Resize
from headstart.data import catalog
from headstart.data.info import describe
from headstart.data.show import dataset_report, ignored
from headstart.data.sizes import TrainingBoxes, find_min_size, long_side
from headstart.data.table import ImageTable
from headstart.data.types import DatasetInfo, DetectionData, Size
from headstart.look.numbers import histograms
from headstart.look.sheet import EPOCHS, sheet
from headstart.replacing import replacing
from headstart.reporting.template import rendered
from headstart.say import say

FILE = "look.html"


def look(config: LookConfig) -> Path:
    """Raises `UserError` where the data cannot be read, or the page not written."""
    data = catalog.read(config.dataset, config.seed)
    info = describe(data, config.dataset)
    say(*dataset_report(info, config.dataset))
    size = size_of(config.dataset, data)
    splits = {split: ImageTable.of(images) for split, images in data.splits.items() if len(images)}
    rows = list(sheet(splits["train"], data.class_names, size, config.augment, config.seed, config.pictures))
    graphs = list(histograms(splits, size))
    page = rendered(
        "look.html.j2",
        ("plot.js", "look.js"),
        {"histograms": [vars(graph) for graph in graphs]},
        {"ignored": lambda split: ignored(info, split)},
        info=info,
        splits=list(splits),
        classes=class_rows(info),
        graphs=graphs,
        sizes=picture_sizes(splits),
        rows=rows,
        size=size,
        epochs=EPOCHS,
        augment=list(changes(config.augment)),
    )
    out = Path(config.out or Path("outputs", "look", config.dataset.name)).expanduser()
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / FILE) as temporary:
        temporary.write_text(page, encoding="utf-8")
    say(f"Written: {out / FILE}")
    return out / FILE


def size_of(config: DatasetConfig, data: DetectionData) -> Size:
    """In which a run would see the pictures: where a side is null, what the training boxes say."""
    stretched = config.resize is Resize.stretch
    least = config.min_size or find_min_size(TrainingBoxes.of(data), config.max_size, stretched)[0]
    return Size(least, config.max_size or long_side(least, stretched), config.resize)


def class_rows(info: DatasetInfo) -> list[tuple[str, list[int]]]:
    """(class, boxes in each split), those with most in train first."""
    rows = [(name, [counts[name] for counts in info.num_boxes.values()]) for name in info.class_names]
    return sorted(rows, key=lambda row: (-row[1][0], row[0]))


def picture_sizes(splits: dict[str, ImageTable]) -> dict[str, list[str]]:
    """Split -> smallest, commonest and largest picture, width x height."""
    return {split: _sizes(images) for split, images in splits.items()}


def _sizes(images: ImageTable) -> list[str]:
    counts = Counter(map(tuple, images.sizes_wh.tolist()))
    by_area = sorted(counts, key=lambda size: (size[0] * size[1], size))
    common = counts.most_common(1)[0][0]
    return [f"{width} x {height}" for width, height in (by_area[0], common, by_area[-1])]


def changes(config: AugmentConfig) -> Iterator[tuple[str, Any]]:
    """What augmentation does, by its settings; none where it does nothing."""
    usual = AugmentConfig()
    for name, value in vars(config).items():
        if name != "name" and value != getattr(usual, name):
            yield name, value
