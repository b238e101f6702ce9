"""What strategies need of their source, as far as settings and files tell. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headstart import limits
from headstart.config.schema import NormPolicy, RunConfig, SourceKind, StrategyConfig
from headstart.errors import UserError

EXPORTED = ("model.safetensors", "model.json")


def read_description(path: Path) -> Any:
    """What a model.json holds, whatever that is; `UserError` for one too large to be one, OSError, ValueError or
    RecursionError for what is no json."""
    return json.loads(limits.read_bytes(path, limits.DESCRIPTION_BYTES, "a description of a model"))


def parts_that_need_a_source(strategy: StrategyConfig) -> list[str]:
    """Settings, freezing apart, that mean nothing where learning starts from random weights."""
    parts = {
        "pull": strategy.pull,
        "distill": strategy.distill,
        f"interpolate={strategy.interpolate}": strategy.interpolate,
        "adapters": strategy.adapters,
        "norm=recalibrate": strategy.norm is NormPolicy.recalibrate,
    }
    return [part for part, value in parts.items() if value]


def source_folder(path: str) -> Path:
    """The folder of the run that `source.path` names, by itself or by one of its model's two files."""
    return Path(path).parent if Path(path).name in EXPORTED else Path(path)


def check_retention(config: RunConfig) -> None:
    """Raises `UserError` where `evaluation.retention` is on and the source is neither the folder of a finished run nor
    one that is trained first."""
    if not config.evaluation.retention or config.source.kind is SourceKind.pretrained:
        return
    remedy = (
        "use source=checkpoint source.path=<folder of a finished run>, source=pretrained, or evaluation.retention=false"
    )
    if config.source.kind is not SourceKind.checkpoint:
        raise UserError(
            f"evaluation.retention=true does not go with source={config.source.name}, whose validation images are not "
            f"known: {remedy}."
        )
    path = str(getattr(config.source, "path", None))
    missing = [name for name in ("record.json", *EXPORTED) if not (source_folder(path) / name).is_file()]
    if missing:
        raise UserError(f"evaluation.retention=true: source.path={path} has no {' and no '.join(missing)}: {remedy}.")
    status = _status(source_folder(path) / "record.json")
    if status != "finished":
        raise UserError(f"evaluation.retention=true: the run in source.path={path} is {status}: {remedy}.")


def _status(path: Path) -> str:
    """As the record says; reading the whole record, and refusing what is wrong with it, comes later."""
    try:
        return str(json.loads(path.read_text())["status"])
    except (OSError, ValueError, KeyError, TypeError):
        return "unreadable (record.json)"


def few_shot_problems(config: RunConfig) -> Iterator[str]:
    if not config.strategy.few_shot:
        return
    name = config.strategy.name
    if config.source.kind in (SourceKind.scratch, SourceKind.imagenet):
        yield (
            f"source={config.source.name} with strategy={name}: it has no base classes, which strategy.few_shot=true "
            "needs. Use source=checkpoint or coco, or strategy=head_only."
        )
    if config.dataset.shots is None:
        yield (
            f"strategy={name} with dataset.shots=null: strategy.few_shot=true is for K images of each class. Set "
            "dataset.shots=10, or use strategy=head_only."
        )
