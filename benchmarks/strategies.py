"""`make bench-strategies`: every strategy from two sources to two real targets, three seeds; the README's table.

Needs the data sets kangaroo, bccd and voc2007_1000 in HEADSTART_DATA. About an hour on two cores; started again, it
goes on where it stopped. The weights measured are those of the last epoch; wise_ft alone chooses by validation, the
best of its mixtures, so that it cannot fall behind full on these images.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported: two processes share the cores
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from headstart.config.compose import compose
from headstart.config.resolve import resolved_dict
from headstart.records.record import RunRecord, read_all
from headstart.reporting.statistics import interval_95, mean
from headstart.runs.identity import run_folder

EPOCHS, SOURCE_EPOCHS = 4, 8
SEEDS = (0, 1, 2)
TARGETS = ("kangaroo", "bccd")
STRATEGIES = (
    "full",
    "head_only",
    "partial_freeze",
    "gradual_unfreeze",
    "discriminative_lr",
    "layer_decay",
    "l2_sp",
    "lp_ft",
    "norm_only",
    "lora",
    "distill",
    "wise_ft",
)
"""Without tfa: neither source knows a class of these targets, so it is refused."""
COMMON = (
    "model=retinanet",
    "model.anchor_scale=0.5",
    "dataset.min_size=120",
    "dataset.max_size=160",
    "logger=csv",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "training.evaluate_untrained=false",
)


def source_run(output: Path) -> list[str]:
    """ImageNet -> VOC: the detector that the second source is."""
    epochs = [f"trainer.max_epochs={SOURCE_EPOCHS}", f"trainer.check_val_every_n_epoch={SOURCE_EPOCHS}"]
    return ["dataset=voc2007_1000", "source=imagenet", "strategy=full", *epochs, *COMMON, f"output_dir={output}"]


def cells(output: Path, source: Path) -> Iterator[list[str]]:
    """Seed by seed, so that an unfinished benchmark has something of everything."""
    epochs = [f"trainer.max_epochs={EPOCHS}", f"trainer.check_val_every_n_epoch={EPOCHS}"]
    voc = ["source=checkpoint", "source.name=voc", f"source.path={source}", "evaluation.retention=true"]
    for seed in SEEDS:
        for target in TARGETS:
            common = [f"dataset={target}", f"seed={seed}", *epochs, *COMMON, f"output_dir={output}"]
            yield ["source=scratch", "strategy=full", *common]
            for strategy in STRATEGIES:
                yield ["source=imagenet", f"strategy={strategy}", *common]
                yield [*voc, f"strategy={strategy}", *common]


def train(overrides: list[str]) -> None:
    from headstart.run import run

    run(compose(overrides))


def folder_of(overrides: list[str]) -> Path:
    config = compose(overrides)
    return run_folder(config, resolved_dict(config))


Arms = dict[tuple[str, str, str], list[RunRecord]]
"""(target, source, strategy) -> a record a seed."""


def table(output: Path) -> str:
    """A row a strategy: mAP ± half of the 95 % interval over seeds; what it trains and costs, from the VOC detector."""
    arms: Arms = {}
    for _, record in read_all(output):
        choices = record.choices
        if record.status == "finished" and choices["dataset"] in TARGETS:
            arms.setdefault((choices["dataset"], choices["source"], choices["strategy"]), []).append(record)
    heads = [f"{target}, from {source}" for target in TARGETS for source in ("imagenet", "voc")]
    names = ["strategy", *heads, "trained", "CPU time", "VOC kept, " + " / ".join(TARGETS)]
    order = sorted(STRATEGIES, key=lambda strategy: -sum(_map(arms[target, "voc", strategy]) for target in TARGETS))
    lines = ["| " + " | ".join(names) + " |", "|---|" + "---:|" * (len(names) - 1)]
    for strategy in order:
        pairs = [(target, source, strategy) for target in TARGETS for source in ("imagenet", "voc")]
        cells = [_interval(arms[pair]) for pair in pairs]
        lines.append("| " + " | ".join((f"`{strategy}`", *cells, *_cost(arms, strategy))) + " |")
    scratch = ", ".join(f"{target} {_interval(arms[target, 'scratch', 'full'])}" for target in TARGETS)
    return "\n".join((*lines, "", f"From scratch: {scratch}."))


def _cost(arms: Arms, strategy: str) -> list[str]:
    records = [arms[target, "voc", strategy] for target in TARGETS]
    times = [
        mean(_cpu(of)) / mean(_cpu(arms[target, "voc", "full"])) for target, of in zip(TARGETS, records, strict=True)
    ]
    trained = mean([record.cost["trained_parameters"] for of in records for record in of])
    kept = [mean([record.metrics["retention"]["retained"] for record in of]) for of in records]
    return [f"{trained / 1e6:.2f} M", f"{mean(times):.0%}", " / ".join(f"{share:.0%}" for share in kept)]


def _cpu(records: list[RunRecord]) -> list[float]:
    return [record.cost["cpu_seconds"] for record in records]


def _map(records: list[RunRecord]) -> float:
    return mean([record.metrics["val"]["map"] or 0.0 for record in records])


def _interval(records: list[RunRecord]) -> str:
    half = interval_95([record.metrics["val"]["map"] or 0.0 for record in records])
    return f"{_map(records):.3f} ± {half:.3f}" if half is not None else f"{_map(records):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("outputs/bench-strategies"))
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time, of one thread each")
    parser.add_argument("--share", type=int, help=argparse.SUPPRESS)  # of a process: every jobs-th cell from here
    arguments = parser.parse_args()
    source = source_run(arguments.output)
    if arguments.share is not None:
        for cell in list(cells(arguments.output, folder_of(source)))[arguments.share :: arguments.jobs]:
            train(cell)
        return
    train(source)
    program = [sys.executable, __file__, "--output", str(arguments.output), "--jobs", str(arguments.jobs)]
    processes = [subprocess.Popen([*program, "--share", str(share)]) for share in range(arguments.jobs)]
    failed = sum(process.wait() != 0 for process in processes)
    text = table(arguments.output)
    (arguments.output / "table.md").write_text(text + "\n")
    print(text)
    if failed:
        sys.exit(f"{failed} of {arguments.jobs} processes failed; started again, the benchmark goes on")


if __name__ == "__main__":
    main()
