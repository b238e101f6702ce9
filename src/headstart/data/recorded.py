"""The data set of an earlier run, found again from wherever the command is given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headstart.config.restore import restore
from headstart.config.schema import DatasetConfig
from headstart.errors import UserError
from headstart.records.record import RunRecord


def recorded_dataset(
    record: RunRecord, folder: Path, root: str | None = None, data_dir: str | None = None, elsewhere: str | None = None
) -> DatasetConfig:
    """The settings that the run in `folder` had, with the root where the data lies now.

    `root` is that place, `data_dir` the folder that named data sets lie in now. Without them it is where the run saw
    it, or else at its place in `elsewhere`, a further `data_dir`. Raises `UserError` where it is nowhere, or what was
    given has no effect.
    """
    settings = dict(record.config["dataset"])
    if (root or data_dir) and "root" not in settings:
        raise UserError(f"{_given(root, data_dir)} has no effect: {folder} was trained on drawn data. Leave it out.")
    if root and data_dir:
        raise UserError(f"root={root} and data_dir={data_dir} both say where the data lies: give one.")
    if "root" in settings:
        settings["root"] = root or _found(record, folder, settings, data_dir, elsewhere)
    settings |= {"cache": "auto", "cache_dir": None}  # where that run kept its pictures is no matter of this one
    return restore("dataset", settings)


def _given(root: str | None, data_dir: str | None) -> str:
    return f"root={root}" if root else f"data_dir={data_dir}"


def _found(
    record: RunRecord, folder: Path, settings: dict[str, Any], data_dir: str | None, elsewhere: str | None
) -> str:
    then: str = settings["root"]
    if data_dir is not None:
        moved = _moved(record, then, data_dir)
        if moved is None:
            raise UserError(
                f"data_dir={data_dir} has no effect: {folder} was trained with dataset.root={then}, which is not below "
                f"its data_dir={record.config['data_dir']}. Say where the data lies now: root=<folder>"
            )
        return moved
    moved = _moved(record, then, elsewhere) if elsewhere is not None else None
    places: list[str] = list(dict.fromkeys([*_places(record, folder, then), *([moved] if moved else [])]))
    found = next((place for place in places if os.path.isdir(place)), None)
    if found is None and not settings.get("download"):
        raise UserError(
            f"{folder} was trained with dataset.root={then}, which is not found ({', '.join(places)}). "
            f"{_remedy(elsewhere)}"
        )
    return found or places[0]


def _remedy(elsewhere: str | None) -> str:
    if elsewhere is None:
        return "Say where the data lies now: root=<folder>"
    return "Put the data there, or a link to it, or use evaluation.retention=false"


def _places(record: RunRecord, folder: Path, root: str) -> Iterator[str]:
    """Where `root` may be meant: as seen by the run, from where its outputs lie, and from here."""
    root = os.path.expanduser(root)
    if directory := record.environment.get("directory"):
        yield os.path.join(directory, root)
    if (origin := _origin(record, folder)) is not None:
        yield str(origin / root)
    yield os.path.abspath(root)


def _origin(record: RunRecord, folder: Path) -> Path | None:
    """The folder that a relative `output_dir` counts from: it moves along with data and outputs."""
    output_dir = Path(os.path.normpath(record.config.get("output_dir", "")))
    parent = Path(os.path.abspath(folder)).parent
    depth = len(output_dir.parts)
    if output_dir.is_absolute() or parent.parts[-depth:] != output_dir.parts:
        return None
    return Path(*parent.parts[:-depth])


def _moved(record: RunRecord, root: str, data_dir: str) -> str | None:
    """`root` at its place in another `data_dir`; None where it was not below its own."""
    before = os.path.normpath(os.path.expanduser(record.config["data_dir"]))
    inside = os.path.relpath(os.path.normpath(os.path.expanduser(root)), before)
    return None if inside.split(os.sep)[0] == ".." else os.path.join(data_dir, inside)
