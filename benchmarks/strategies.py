"""`make bench-strategies`: which source and which strategy, at equal cost: the README's tables.

Two networks: TensorFlow's SSD-MobileNetV2 at 300 x 300, from nothing, from COCO (source=coco_ssd) and from VOC; and
RetinaNet on EfficientNet-Lite0 at 160 x 120, from ImageNet and from VOC. The VOC detectors are trained here, at equal
cost too: the SSD's from nothing, the RetinaNet's from ImageNet. Every cell trains for the same CPU seconds: a short run
of each network and strategy tells how many images a second it does, and thus how many epochs a cell has.

Needs kangaroo, bccd, fruit, voc2007_1000 and coco208 in HEADSTART_DATA, and `headstart[coco-ssd]`. About 90 minutes on
two cores; started again, it goes on where it stopped. The weights measured are those of the last epoch; wise_ft alone
chooses by validation, so that it cannot fall behind full on these images.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported: two processes share the cores
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from headstart.config.compose import compose
from headstart.config.resolve import resolved_dict
from headstart.records.record import RunRecord
from headstart.reporting.statistics import interval_95, mean
from headstart.runs.identity import run_folder

SEEDS = (0, 1, 2)
IMAGES = {"kangaroo": 130, "bccd": 205, "fruit": 192}
"""Target -> its training images."""
STRATEGIES = ("full", "partial_freeze", "head_only", "l2_sp", "lora")
SHOTS = (1, 5, 10)
FORGETTING = ("full", "head_only", "l2_sp", "distill", "wise_ft")
SOURCE_IMAGES, SOURCE_SHARE = 800, 6
"""Of voc2007_1000; how many times a cell's seconds a source has."""
COMMON = (
    "logger=csv",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "training.evaluate_untrained=false",
)


@dataclass(frozen=True)
class Network:
    """A detector and the size of its pictures; sources are made with `strategy=full`, from what `before` says."""

    name: str
    overrides: tuple[str, ...]
    sources: tuple[str, ...]
    before: str


NETWORKS = (
    Network(
        "SSD-MobileNetV2",
        (
            *("model=ssd_tf", "backbone=mobilenetv2_100"),
            *("dataset.resize=stretch", "dataset.min_size=300", "dataset.max_size=300"),
        ),
        ("scratch", "coco_ssd", "voc"),
        "scratch",
    ),
    Network(
        "RetinaNet-Lite0",
        ("model=retinanet", "model.anchor_scale=0.5", "dataset.min_size=120", "dataset.max_size=160"),
        ("imagenet", "voc"),
        "imagenet",
    ),
)
SSD = NETWORKS[0]
NOTHING_LEARNT = ((SSD, "scratch"), (SSD, "voc"))
"""Of these only `full` is shown: in the time that a source has here, an SSD from nothing comes to an mAP of 0.005 on
VOC. (Freezing what has learned nothing gave 0.01 to 0.12 with one seed.)"""


@dataclass(frozen=True)
class Cell:
    """One run: where it stands in a table, and what it is asked for."""

    table: str
    row: tuple[str, ...]
    column: str
    overrides: tuple[str, ...]


# ------------------------------------------------------------------------------------------------ what is run


def speed_runs(output: Path) -> Iterator[tuple[Network, str, list[str]]]:
    """A short run of each network and strategy."""
    for network in NETWORKS:
        for strategy in dict.fromkeys((*STRATEGIES, *(FORGETTING if network is SSD else ()))):
            source = ["source=coco_ssd"] if network is SSD else ["source=imagenet"]
            if strategy == "full":
                source = [f"source={network.before}"]
            own = [*network.overrides, *source, f"strategy={strategy}", "dataset=bccd", "dataset.fraction=0.3"]
            yield network, strategy, [*own, *COMMON, "trainer.max_epochs=2", f"output_dir={output}/speed"]


def speeds(output: Path) -> dict[tuple[str, str], float]:
    """(network, strategy) -> images a second, of runs that are done."""
    return {
        (network.name, strategy): record_of(overrides).cost["train_images_per_second"]
        for network, strategy, overrides in speed_runs(output)
    }


def epochs(images: int, speed: float, seconds: float) -> list[str]:
    """As many as `seconds` allow, at least one; validation at the end alone."""
    number = max(1, round(seconds * speed / images))
    return [f"trainer.max_epochs={number}", f"trainer.check_val_every_n_epoch={number}"]


def source_runs(output: Path, seconds: float) -> Iterator[list[str]]:
    """The VOC detector of each network; and coco_ssd as a run, so that what is forgotten of COCO can be measured."""
    speed = speeds(output)
    for network in NETWORKS:
        time = epochs(SOURCE_IMAGES, speed[network.name, "full"], SOURCE_SHARE * seconds)
        own = ["dataset=voc2007_1000", f"source={network.before}", "strategy=full", *time]
        yield [*network.overrides, *own, *COMMON, f"output_dir={output}/sources"]
    own = ["dataset=coco208", "source=coco_ssd", "strategy=full", "trainer.max_epochs=0"]
    yield [*SSD.overrides, *own, *COMMON, f"output_dir={output}/sources"]


def cells(output: Path, seconds: float) -> Iterator[Cell]:
    """Seed by seed, so that an unfinished benchmark has something of everything."""
    found, speed = [folder_of(run) for run in source_runs(output, seconds)], speeds(output)
    voc = dict(zip((network.name for network in NETWORKS), found[:2], strict=True))

    def cell(
        table: str, network: Network, source: str, strategy: str, target: str, *more: str, images: int = 0
    ) -> Cell:
        time = epochs(
            images or IMAGES[target], speed.get((network.name, strategy), speed[network.name, "full"]), seconds
        )
        given = [f"source={source}"] if source != "voc" else checkpoint("voc", voc[network.name])
        if table == "forgetting":
            given = [*checkpoint(source, found[2]), "evaluation.retention=true"]
        own = (*network.overrides, *given, f"strategy={strategy}", f"dataset={target}", *time, *more, *COMMON)
        row = (network.name, source, strategy)
        return Cell(table, row, target, (*own, f"output_dir={output}/{table}"))

    for seed in (f"seed={seed}" for seed in SEEDS):
        for target in IMAGES:
            for network in NETWORKS:
                for source in network.sources:
                    for strategy in STRATEGIES if (network, source) not in NOTHING_LEARNT else STRATEGIES[:1]:
                        yield cell("strategies", network, source, strategy, target, seed)
        for shots in SHOTS:
            for strategy in ("full", "head_only", "tfa"):
                few = cell(
                    "shots", SSD, "coco_ssd", strategy, "fruit", seed, f"dataset.shots={shots}", images=3 * shots
                )
                yield Cell(few.table, few.row[2:], f"K = {shots}", few.overrides)
        for strategy in FORGETTING:
            kept = cell("forgetting", SSD, "coco_ssd", strategy, "kangaroo", seed)
            yield Cell(kept.table, kept.row[2:], kept.column, kept.overrides)


def checkpoint(name: str, folder: Path) -> list[str]:
    return ["source=checkpoint", f"source.name={name}", f"source.path={folder}"]


def train(overrides: Iterable[str]) -> None:
    from headstart.run import run

    run(compose([*overrides]))


def folder_of(overrides: Iterable[str]) -> Path:
    config = compose([*overrides])
    return run_folder(config, resolved_dict(config))


def record_of(overrides: Iterable[str]) -> RunRecord:
    return RunRecord.read(folder_of(overrides) / "record.json")


# ------------------------------------------------------------------------------------------------ what is shown

Found = dict[tuple[str, ...], dict[str, list[RunRecord]]]
"""Row -> column -> a record a seed."""


def tables(output: Path, seconds: float) -> str:
    found: dict[str, Found] = {}
    for cell in cells(output, seconds):
        record = record_of(cell.overrides)
        if record.status == "finished":
            found.setdefault(cell.table, {}).setdefault(cell.row, {}).setdefault(cell.column, []).append(record)
    spent = "CPU s", seconds_spent
    return "\n\n".join(
        (
            table_of(found["strategies"], ("network", "source", "strategy"), [*IMAGES], [spent]),
            table_of(found["shots"], ("strategy",), [f"K = {shots}" for shots in SHOTS], []),
            table_of(
                found["forgetting"], ("strategy",), ["kangaroo"], [("COCO kept", _kept), ("CPU s", seconds_spent)]
            ),
            _images_a_second(output),
        )
    )


def table_of(
    found: Found,
    heads: Sequence[str],
    columns: Sequence[str],
    more: Sequence[tuple[str, Callable[[list[RunRecord]], str]]],
) -> str:
    lines = ["| " + " | ".join((*heads, *columns, *(name for name, _ in more))) + " |"]
    lines.append("|---" * len(heads) + "|" + "---:|" * (len(columns) + len(more)))
    for row, by_column in found.items():
        everything = [record for records in by_column.values() for record in records]
        shown = [interval(by_column.get(column, [])) for column in columns]
        lines.append("| " + " | ".join((*row, *shown, *(of(everything) for _, of in more))) + " |")
    return "\n".join(lines)


def interval(records: list[RunRecord]) -> str:
    """mAP ± half of the 95 % interval over seeds."""
    values = [record.metrics["val"]["map"] or 0.0 for record in records]
    half = interval_95(values)
    return "-" if not values else f"{mean(values):.3f}" + ("" if half is None else f" ± {half:.3f}")


def seconds_spent(records: list[RunRecord]) -> str:
    return f"{mean([record.cost['cpu_seconds'] for record in records]):.0f}"


def _kept(records: list[RunRecord]) -> str:
    return f"{mean([record.metrics['retention']['retained'] for record in records]):.0%}"


def _images_a_second(output: Path) -> str:
    shown = ", ".join(f"{network} {strategy} {speed:.1f}" for (network, strategy), speed in speeds(output).items())
    return f"Images a second, one thread: {shown}."


# ------------------------------------------------------------------------------------------------ one after another


def side_by_side(arguments: argparse.Namespace, stage: str, program: str) -> int:
    """Runs the stage of `program` in `--jobs` processes; how many of them failed."""
    given = ["--output", str(arguments.output), "--jobs", str(arguments.jobs), "--seconds", str(arguments.seconds)]
    words = [sys.executable, program, *given, "--stage", stage]
    processes = [subprocess.Popen([*words, "--share", str(share)]) for share in range(arguments.jobs)]
    return sum(process.wait() != 0 for process in processes)


def parser_of(about: str | None, output: Path, seconds: float = 40) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--output", type=Path, default=output)
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time, of one thread each")
    parser.add_argument("--seconds", type=float, default=seconds, help="of training in a cell")
    parser.add_argument("--stage", choices=("speeds", "sources", "cells"), help=argparse.SUPPRESS)
    parser.add_argument("--share", type=int, default=0, help=argparse.SUPPRESS)  # every jobs-th run from here
    return parser


def in_stages(
    program: str,
    arguments: argparse.Namespace,
    stages: Sequence[str],
    work: Callable[[str], Sequence[Callable[[], None]]],
    text: Callable[[], str],
) -> None:
    """The stages one after another, each in `--jobs` processes that share its `work`; then `text` is kept and shown."""
    if arguments.stage is not None:
        for one in work(arguments.stage)[arguments.share :: arguments.jobs]:
            one()
        return
    for stage in stages:
        if failed := side_by_side(arguments, stage, program):
            sys.exit(f"{failed} of {arguments.jobs} processes failed; started again, the benchmark goes on")
    shown = text()
    (arguments.output / "tables.md").write_text(shown + "\n")
    print(shown)


def stage_runs(stage: str, output: Path, seconds: float) -> list[Sequence[str]]:
    if stage == "speeds":
        return [overrides for _, _, overrides in speed_runs(output)]
    return [*source_runs(output, seconds)] if stage == "sources" else [c.overrides for c in cells(output, seconds)]


def main() -> None:
    arguments = parser_of(__doc__, Path("outputs/bench-strategies")).parse_args()
    output, seconds = arguments.output, arguments.seconds

    def work(stage: str) -> list[Callable[[], None]]:
        return [partial(train, overrides) for overrides in stage_runs(stage, output, seconds)]

    in_stages(__file__, arguments, ("speeds", "sources", "cells"), work, lambda: tables(output, seconds))


if __name__ == "__main__":
    main()
