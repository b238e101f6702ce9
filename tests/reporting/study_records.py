"""Records of a whole study, made by a formula: what they must show is known."""

import copy
import random
from pathlib import Path
from typing import Any

from headstart.records.record import RunRecord

CLASSES = {"blood": ("platelet", "red cell", "white cell"), "fruit": ("apple", "<b>banana</b>", "orange")}
SOURCE_GAIN = {"scratch": 0.0, "imagenet": 0.15, "noise": -0.1}
STRATEGY_GAIN = {"full": 0.0, "partial_freeze": -0.002, "head_only": -0.06}
STRATEGY_COST = {"full": 1.0, "partial_freeze": 0.7, "head_only": 0.35}
FREEZES = {"full": None, "partial_freeze": "stage2", "head_only": "neck"}
PARAMETERS = {"full": 3_516_049, "partial_freeze": 2_950_000, "head_only": 546_815}
IMAGES = 400
CONFIG: dict[str, Any] = {
    "dataset": {"name": "blood", "min_size": 240, "max_size": 320, "fraction": 1.0, "shots": None, "num_workers": 0},
    "model": {"architecture": "retinanet"},
    "backbone": {"name": "lite0", "architecture": "tf_efficientnet_lite0"},
    "source": {"name": "imagenet", "kind": "imagenet"},
    "strategy": {"name": "full", "freeze_through": None},
    "optimizer": {"name": "adamw", "lr": None},
    "trainer": {"max_epochs": 20},
    "evaluation": {"engine": "hotcoco", "max_detections": 100},
    "data_dir": "data",
    "output_dir": "outputs",
}


def make_record(
    target: str = "blood",
    source: str = "imagenet",
    strategy: str = "full",
    seed: int = 0,
    fraction: float = 1.0,
    ap: float | None = None,
    epochs: int = 20,
    **changes: Any,
) -> tuple[str, RunRecord]:
    """(folder name, finished record). `ap` overrules the formula: level of the target and of the seed, gain of source
    and strategy, and the fraction's; `changes` overwrite `group__key` of the configuration."""
    config: dict[str, Any] = copy.deepcopy(CONFIG) | {"seed": seed}
    config["dataset"] |= {"name": target, "fraction": fraction}
    config["source"] = {"name": source, "kind": "scratch" if source == "scratch" else "checkpoint"}
    config["strategy"] = {"name": strategy, "freeze_through": FREEZES[strategy]}
    for name, value in changes.items():
        group, _, key = name.partition("__")
        config[group][key] = value
    ap = formula(target, source, strategy, seed, fraction) if ap is None else ap
    classes = CLASSES.get(target, ("thing",))
    per_class = {name: max(0.0, ap + 0.05 * (i - 1)) for i, name in enumerate(classes)}
    history = [{"epoch": e, "val/map": ap * (1 - 0.8**e), "train/loss": 1.0} for e in range(epochs + 1)]
    seconds = 600 * STRATEGY_COST[strategy] * fraction + seed
    record = RunRecord(
        status="finished",
        choices={"dataset": target, "source": source, "strategy": strategy, "seed": seed, "fraction": fraction},
        config=config,
        dataset={
            "name": target,
            "class_names": list(classes),
            "evaluation_fingerprint": f"eval of {target}",
            "fingerprint": f"{target} {fraction} {seed if fraction < 1 else ''}",
            "num_images": {"train": round(IMAGES * fraction), "val": 100},
        },
        metrics={
            "val": {"map": ap, "map_50": min(1.0, ap * 1.5), "per_class": per_class, "images": 100},
            "history": history,
        },
        cost={
            "cpu_seconds": seconds,
            "wall_seconds": seconds * 1.02,
            "train_images_per_second": 20 / STRATEGY_COST[strategy],
            "peak_memory_mib": 800 + 400 * STRATEGY_COST[strategy],
            "trained_parameters": PARAMETERS[strategy],
        },
        environment={"processor": "one", "gpus": []},
    )
    if source == "imagenet" and strategy != "full":
        kept = {"map": 0.5 - 0.1 * STRATEGY_COST[strategy]}
        record.metrics["retention"] = {"dataset": "first", "classes": [], "before": {"map": 0.5}, "after": kept}
        record.metrics["retention"]["retained"] = kept["map"] / 0.5
    budget = "" if fraction == 1 else f"-f{fraction:g}"
    return f"{target}-{source}-{strategy}{budget}-seed{seed}", record


def formula(target: str, source: str, strategy: str, seed: int, fraction: float) -> float:
    noise = random.Random(f"{target} {source} {strategy} {seed} {fraction}").uniform(-0.01, 0.01)
    level = {"blood": 0.3, "fruit": 0.45}.get(target, 0.4) + 0.01 * (seed % 3)
    few = 0.1 * (1 - fraction) * (0.5 if source == "imagenet" else 2.5)
    return max(0.0, level + SOURCE_GAIN.get(source, 0.1) + STRATEGY_GAIN[strategy] - few + noise)


def write(folder: Path, name: str, record: RunRecord) -> None:
    (folder / name).mkdir(parents=True)
    record.write(folder / name / "record.json")


def write_study(folder: Path, seeds: int = 3) -> None:
    """2 targets x 3 sources x 3 strategies (scratch: full alone), label efficiency on one, and three that did not
    finish."""
    for target in CLASSES:
        for source in SOURCE_GAIN:
            for strategy in STRATEGY_GAIN:
                fractions = (0.1, 0.3, 1.0) if target == "blood" and source != "noise" else (1.0,)
                for fraction in fractions:
                    for seed in range(seeds):
                        if source != "scratch" or strategy == "full":
                            write(folder, *make_record(target, source, strategy, seed, fraction))
    for status, seed in (("failed", 7), ("interrupted", 8), ("not_applicable", 9)):
        name, record = make_record(seed=seed)
        record.status, record.metrics, record.cost = status, {}, {}
        if status == "failed":
            record.error = {"type": "RuntimeError", "message": "out of <memory>\nmore", "traceback": ""}
        write(folder, name, record)
