"""Records as a study leaves them, without training anything."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.records.record import RunRecord

CONFIG: dict[str, Any] = {
    "dataset": {"name": "shapes", "fraction": 1.0, "num_workers": 1},
    "model": {"architecture": "retinanet", "nms_threshold": 0.5},
    "backbone": {"name": "lite0", "architecture": "tf_efficientnet_lite0"},
    "source": {"name": "imagenet", "kind": "imagenet"},
    "strategy": {"name": "full", "freeze_through": None},
    "optimizer": {"name": "adamw", "lr": None},
    "trainer": {"max_epochs": 10},
    "data_dir": "data",
    "output_dir": "outputs",
}
FREEZES = {"full": None, "partial_freeze": "stage2", "head_only": "neck"}


@pytest.fixture
def make_run() -> Callable[..., tuple[Path, RunRecord]]:
    """A finished run; keywords are its outcome and, as `group__key`, its settings."""

    def make(
        ap: float | None = 0.5,
        seed: int = 0,
        cpu_seconds: float = 100.0,
        status: str = "finished",
        fingerprint: str = "f00d",
        history: tuple[float | None, ...] = (0.0, 0.25, 0.5),
        **settings: Any,
    ) -> tuple[Path, RunRecord]:
        config: dict[str, Any] = copy.deepcopy(CONFIG) | {"seed": seed}
        for name, value in settings.items():
            group, _, key = name.partition("__")
            config[group][key] = value
        config["strategy"]["freeze_through"] = FREEZES[config["strategy"]["name"]]
        record = RunRecord(
            status=status,
            choices={"dataset": "shapes", "seed": seed},
            config=config,
            dataset={"evaluation_fingerprint": fingerprint},
            metrics={
                "val": {"map": ap, "map_50": None if ap is None else ap + 0.2},
                "history": [{"epoch": epoch, "val/map": value} for epoch, value in enumerate(history)],
            },
            cost={"cpu_seconds": cpu_seconds, "trained_parameters": 1234567},
        )
        return Path("outputs") / f"{config['source']['name']}-{config['strategy']['name']}-seed{seed}", record

    return make
