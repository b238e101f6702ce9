"""The name of a run: the same experiment has the same folder, on every machine."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from headstart.config.checks_transfer import source_folder
from headstart.config.schema import ExtensionConfig, FileDatasetConfig, ModelConfig, RunConfig, SSDVariant
from headstart.records.record import SCHEMA_VERSION
from headstart.runs.idle import idle, is_without_effect, of_run

NAMES = ("augment", "optimizer", "scheduler")
"""Groups whose `name` is only what a choice is called; those of other groups stand in the run's name."""
PATHS = ("dataset.root", "source.path", "model.file")
"""Settings that name one place in several ways."""

AS_BEFORE = {
    "dataset.resize": "keep",
    "dataset.max_pixels": FileDatasetConfig.max_pixels,
    "augment.scales": [],
    "model.neck": "fpn",
    "model.attention": "none",
    "model.class_loss": "focal",
    "backbone.darknet": False,
}
"""Settings that came later, at what every run did before: they keep the names that those have."""


def run_folder(config: RunConfig, resolved: dict[str, Any]) -> Path:
    """Where the run writes: its name below `output_dir`."""
    return Path(config.output_dir) / run_name(config, resolved)


def run_name(config: RunConfig, resolved: dict[str, Any]) -> str:
    """`<choices>-seed<seed>-<hash of the resolved configuration>`."""
    choices = [
        config.dataset.name,
        model_name(config.model),
        config.backbone.name,
        config.source.name,
        config.strategy.name,
    ]
    if config.dataset.fraction != 1:
        choices.append(f"f{config.dataset.fraction:g}")
    if config.dataset.shots is not None:
        choices.append(f"k{config.dataset.shots}")
    return "-".join([*choices, f"seed{config.seed}", config_hash(resolved)])


def model_name(model: ModelConfig) -> str:
    """The architecture; `ssd_tf` is another network than `ssd`, and was never called otherwise by the user. An
    extension has a name of its own."""
    if isinstance(model, ExtensionConfig):
        return model.name
    variant = getattr(model, "variant", None)
    return f"{model.architecture.value}_tf" if variant is SSDVariant.tf else model.architecture.value


def config_hash(resolved: dict[str, Any]) -> str:
    """8 hex digits over the settings that matter, and the version of the records: runs of older ones are other runs."""
    matter = {name: value for name, value in settings_that_matter(resolved).items() if _in_hash(name, value)}
    text = json.dumps([SCHEMA_VERSION, matter], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def settings_that_matter(resolved: dict[str, Any]) -> dict[str, Any]:
    """`group.key` -> value of all that can change what a run finds, and of what its choices are called.

    Paths inside `data_dir` count relative to it: where the data lies changes nothing. A setting that is null is as
    one that an older version did not have.
    """
    settings = flat(resolved)
    without = idle(settings)
    matter = {
        name: value
        for name, value in settings.items()
        if value is not None and name not in without and not is_without_effect(name)
    }
    return {name: _place(name, value, resolved.get("data_dir", "")) for name, value in matter.items()}


def flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _in_hash(name: str, value: Any) -> bool:
    name = of_run(name)
    return name not in {f"{group}.name" for group in NAMES} and AS_BEFORE.get(name, ...) != value


def _place(name: str, value: Any, data_dir: str) -> Any:
    """One way to write a place: below `data_dir`, else below where the command was given, else whole."""
    if not isinstance(value, str) or of_run(name) not in PATHS:
        return value
    path, data = _absolute(value), _absolute(data_dir)
    if name.endswith(".path"):
        path = str(source_folder(path))
    if path == data or path.startswith(data + os.sep):
        return "<data_dir>" + path[len(data) :]
    return os.path.relpath(path) if path.startswith(os.getcwd() + os.sep) else path


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))
