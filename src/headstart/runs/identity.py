"""The name of a run: the same experiment has the same folder, on every machine."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from headstart.config.schema import RunConfig

WITHOUT_EFFECT = (
    "output_dir",
    "data_dir",
    "rerun",
    "logger",
    "study",
    "dataset.num_workers",
    "dataset.cache",
    "dataset.download",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.enable_autolog_hparams",
    "trainer.log_every_n_steps",
    "trainer.profiler",
)
"""Settings that cannot change what a run finds, or the run that it starts from."""


def run_folder(config: RunConfig, resolved: dict[str, Any]) -> Path:
    """Where the run writes: its name below `output_dir`."""
    return Path(config.output_dir) / run_name(config, resolved)


def run_name(config: RunConfig, resolved: dict[str, Any]) -> str:
    """`<choices>-seed<seed>-<hash of the resolved configuration>`."""
    choices = [
        config.dataset.name,
        config.model.architecture.value,
        config.backbone.name,
        config.source.name,
        config.strategy.name,
    ]
    if config.dataset.fraction != 1:
        choices.append(f"f{config.dataset.fraction:g}")
    if config.dataset.shots is not None:
        choices.append(f"k{config.dataset.shots}")
    return "-".join([*choices, f"seed{config.seed}", config_hash(resolved)])


def config_hash(resolved: dict[str, Any]) -> str:
    """8 hex digits over the settings that matter."""
    text = json.dumps(settings_that_matter(resolved), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def settings_that_matter(resolved: dict[str, Any]) -> dict[str, Any]:
    """`group.key` -> value of all that can change what a run finds.

    Paths inside `data_dir` count relative to it: where the data lies changes nothing.
    """
    matter = {name: value for name, value in _flat(resolved).items() if not _without_effect(name)}
    return {name: _relative(value, resolved["data_dir"].rstrip(os.sep)) for name, value in matter.items()}


def _flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _without_effect(name: str) -> bool:
    while name.startswith("source."):  # a source that is a run has settings of the same kinds
        name = name.removeprefix("source.")
    return any(name == setting or name.startswith(f"{setting}.") for setting in WITHOUT_EFFECT)


def _relative(value: Any, data_dir: str) -> Any:
    if isinstance(value, str) and (value == data_dir or value.startswith(data_dir + os.sep)):
        return "<data_dir>" + value[len(data_dir) :]
    return value
