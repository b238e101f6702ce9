"""`make bench-detectors`: every detector on real data at equal cost: the tables of docs/detectors.md.

`partial_freeze` on bccd and kangaroo, three seeds: every detector on EfficientNet-Lite0 from ImageNet, the best source
there is beside it, necks, attention and losses on RetinaNet, YOLOX on a third set (fruit), and what D-FINE and RT-DETR
do on bccd with ten times as long. Every cell trains for the same CPU seconds: a short run of each row tells how many
images a second it does, and thus how many epochs a cell has. The weights measured are those of the last epoch.

Needs kangaroo, bccd and fruit in HEADSTART_DATA, `headstart[coco-ssd]` and `headstart[detr]`. Started again, it goes on
where it stopped.

    python benchmarks/detectors.py [--jobs 2] [--seconds 40] [--output outputs/bench-detectors]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported: two processes share the cores
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

from strategies import (
    COMMON,
    SEEDS,
    SSD,
    Found,
    epochs,
    in_stages,
    parser_of,
    record_of,
    seconds_spent,
    table_of,
    train,
)

from headstart.records.record import RunRecord

IMAGES = {"kangaroo": 130, "bccd": 205, "fruit": 192}
"""Target -> its training images."""
SMALL = ("dataset.min_size=120", "dataset.max_size=160")
ANCHORS = "model.anchor_scale=0.5"
NINE = "[[4,5],[6,12],[13,9],[12,23],[24,17],[24,46],[45,35],[60,76],[144,125]]"
"""The paper's, of pictures 416 pixels wide."""
RETINANET = ("model=retinanet", ANCHORS, *SMALL)
DETECTORS = {
    "RetinaNet": RETINANET,
    "FCOS": ("model=fcos", *SMALL),
    "Faster R-CNN": ("model=faster_rcnn", ANCHORS, *SMALL),
    "SSDlite": ("model=ssdlite", *SMALL),
    "YOLOv3": ("model=yolov3", f"model.anchors={NINE}", *SMALL),
    "YOLOX": ("model=yolox", *SMALL),
    "D-FINE": ("model=d_fine", *SMALL),
    "RT-DETR": ("model=rt_detr", *SMALL),
}
"""On EfficientNet-Lite0, from ImageNet."""
NECKS = {f"neck={neck}": (*RETINANET, f"model.neck={neck}") for neck in ("pan", "bifpn")}
ATTENTION = {
    f"attention={kind}": (*RETINANET, f"model.attention={kind}") for kind in ("se", "cbam", "eca", "coordinate")
}
LOSSES = {
    "box_loss=ciou": (*RETINANET, "model.box_loss=ciou"),
    "class_loss=quality_focal": (*RETINANET, "model.class_loss=quality_focal"),
}
BEST = {"SSD-MobileNetV2": SSD.overrides}
"""From COCO: the one detector of COCO that comes as a package."""
QUERIES = {name: DETECTORS[name] for name in ("RetinaNet", "D-FINE", "RT-DETR")}


@dataclass(frozen=True)
class Table:
    """Rows and their overrides, each on every target with every seed."""

    head: str
    rows: Mapping[str, tuple[str, ...]]
    source: str = "imagenet"
    targets: tuple[str, ...] = ("kangaroo", "bccd")
    seeds: tuple[int, ...] = SEEDS
    times: int = 1
    """As long as a cell of the others."""

    def cell(self, row: str, target: str, more: Sequence[str]) -> list[str]:
        own = [*self.rows[row], f"source={self.source}", "strategy=partial_freeze", f"dataset={target}"]
        return [*own, *more, *COMMON]


TABLES = (
    Table("detector", DETECTORS),
    Table("best source", BEST, source="coco_ssd"),
    Table("RetinaNet", NECKS | ATTENTION | LOSSES),
    Table("third set", {"YOLOX": DETECTORS["YOLOX"]}, targets=("fruit",)),
    Table("ten times as long", QUERIES, targets=("bccd",), seeds=SEEDS[:1], times=10),
)


def speed_runs(output: Path) -> Iterator[tuple[str, list[str]]]:
    few = ("dataset.fraction=0.3", "trainer.max_epochs=2", f"output_dir={output}/speed")
    for table in TABLES[:3]:  # the others have rows of the first
        for row in table.rows:
            yield row, table.cell(row, "bccd", few)


def cells(output: Path, seconds: float) -> Iterator[tuple[Table, str, str, list[str]]]:
    """(table, row, target, overrides), seed by seed."""
    speeds = {row: record_of(overrides).cost["train_images_per_second"] for row, overrides in speed_runs(output)}
    for seed in SEEDS:
        for table in TABLES:
            for target, row in product(table.targets if seed in table.seeds else (), table.rows):
                time = epochs(IMAGES[target], speeds[row], table.times * seconds)
                own = (*time, f"seed={seed}", f"output_dir={output}/cells")
                yield table, row, target, table.cell(row, target, own)


def tables(output: Path, seconds: float) -> str:
    found: dict[str, Found] = {}
    for table, row, target, overrides in cells(output, seconds):
        record = record_of(overrides)
        found.setdefault(table.head, {}).setdefault((row,), {}).setdefault(target, []).append(record)
    more = [("epochs", epochs_of), ("CPU s", seconds_spent), ("parameters, M", parameters)]
    return "\n\n".join(table_of(found[table.head], (table.head,), table.targets, more) for table in TABLES)


def parameters(records: Sequence[RunRecord]) -> str:
    return f"{records[0].cost['total_parameters'] / 1e6:.1f}"


def epochs_of(records: Sequence[RunRecord]) -> str:
    return " / ".join(str(number) for number in dict.fromkeys(r.config["trainer"]["max_epochs"] for r in records))


def main() -> None:
    arguments = parser_of(__doc__, Path("outputs/bench-detectors")).parse_args()
    output, seconds = arguments.output, arguments.seconds

    def work(stage: str) -> list[Callable[[], None]]:
        runs = [words for _, words in speed_runs(output)]
        if stage == "cells":
            runs = [words for *_, words in cells(output, seconds)]
        return [partial(train, words) for words in runs]

    in_stages(__file__, arguments, ("speeds", "cells"), work, lambda: tables(output, seconds))


if __name__ == "__main__":
    main()
