"""Finished runs of one's own as sources. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart import limits
from headstart.config.checks_transfer import EXPORTED, read_description
from headstart.config.fitting import WIDTHS, backbone_words, other_network
from headstart.config.schema import BackboneConfig, ModelConfig
from headstart.errors import UserError
from headstart.records.record import SOURCES, RunRecord, record_files

SPLITS = ("test", "val")
"""The first that was measured says how good a run is."""


@dataclass(frozen=True)
class OwnRun:
    """A detector that is finished, and what loading reads of it."""

    folder: Path
    record: RunRecord
    network: dict[str, dict[str, Any]]
    """`model` and `backbone`, as model.json has them."""

    @property
    def split(self) -> str:
        return next((split for split in SPLITS if self.map_on(split) is not None), SPLITS[-1])

    def map_on(self, split: str) -> float | None:
        value = (self.record.metrics.get(split) or {}).get("map")
        return value if isinstance(value, float) else None

    @property
    def name(self) -> str:
        """Of the data set: what a source that comes of it is called."""
        return str(self.record.choices.get("dataset", "own"))

    @property
    def words(self) -> list[str]:
        """The network on the command line."""
        model, backbone = self.network["model"], self.network["backbone"]
        found = [f"model={model.get('architecture')}"]
        own = ("variant", "size", *WIDTHS)
        found += [f"model.{name}={model[name]}" for name in own if model.get(name) is not None]
        return [*found, *backbone_words(str(backbone.get("name")), "timm", str(backbone.get("architecture")))]

    @property
    def map(self) -> float:
        value = self.map_on(self.split)
        return -1.0 if value is None else value

    def fits(self, model: ModelConfig | None, backbone: BackboneConfig | None) -> bool:
        return other_network(self.network["model"], self.network["backbone"], model, backbone) is None


def own_runs(folder: Path) -> tuple[list[OwnRun], list[str]]:
    """Finished runs below `folder`, those that are sources of others included, best first; and what cannot be read."""
    found, problems = [], []
    for path in [*record_files(folder), *record_files(folder / SOURCES)]:
        try:
            found += _own_run(path)
        except UserError as error:
            problems.append(str(error))
    return sorted(found, key=lambda run: -run.map), problems


def _own_run(path: Path) -> Iterator[OwnRun]:
    record = RunRecord.read(path)
    if record.status != "finished":
        return
    weights, network = (path.parent / name for name in EXPORTED)
    if not _is_whole(weights):
        raise UserError(f"{weights} is not there, or not whole: rerun=true makes it anew.")
    try:
        found = read_description(network)
        yield OwnRun(path.parent, record, {name: dict(found[name]) for name in ("model", "backbone")})
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{network} is no description of a model ({error}): rerun=true makes it anew.") from None


def _is_whole(path: Path) -> bool:
    """Whether a safetensors file is as long as its header says: eight bytes of its length, itself, the tensors."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, limits.RECORD_BYTES)))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        return path.stat().st_size == 8 + length + max(ends, default=0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return False
