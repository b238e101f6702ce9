"""The files that a run reads: whether one has changed since, by sizes and times alone. Imports no torch.

What they hold is compared only where this says that it may have changed (`runs/changes.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from headstart.config.checks_transfer import EXPORTED, source_folder
from headstart.config.schema import DatasetConfig, ExtensionConfig, FileDatasetConfig, RunConfig
from headstart.replacing import replacing
from headstart.runs.pretrained import folder_of, source_run

FILE = "inputs.json"
"""Beside the record, which a look at a finished run does not write anew."""
MOST_FILES = 1_000_000
"""Below a data set's folder; where there are more, it is no data set's, and its data is read each time."""
ANNOTATIONS = ("train_json", "val_json", "test_json", "data_yaml", "train_file", "val_file", "test_file")
"""Settings that name files relative to the data set's folder, which may lie outside of it."""
IMAGES = ("train_images", "val_images", "test_images")
"""Settings that name folders in the same way."""

Tree = Callable[[str], str]


def same_inputs(config: RunConfig, folder: Path, tree: Tree | None = None) -> bool:
    """Whether the run in `folder` was begun with these very files. False says only that it has to be looked at.

    `tree` in place of `tree_stamp`, for a caller that asks for many runs at once.
    """
    stamps = _stamps(config, tree)
    return not stamps or (all(stamps) and _read(folder).get("stamp") == _digest(stamps))


def input_stamp(config: RunConfig, tree: Tree | None = None) -> str:
    """Of names, sizes and times of all files; empty where they cannot be known."""
    stamps = _stamps(config, tree)
    return _digest(stamps) if all(stamps) else ""


def dataset_stamp(config: DatasetConfig) -> str:
    """As `input_stamp`, of the data set alone."""
    stamps = [*_dataset_stamps(config, tree_stamp)]
    return _digest(stamps) if all(stamps) else ""


def write_inputs(folder: Path, stamp: str) -> None:
    """The run in `folder` is what these files give."""
    _write(folder, {"stamp": stamp})


def write_refusal(folder: Path, message: str) -> None:
    """Why a finished run cannot stand for what is asked: its record stays, and a study reads it here."""
    _write(folder, _read(folder) | {"refused": message})


def read_refusal(folder: Path) -> str | None:
    return _read(folder).get("refused")


def tree_stamp(root: str) -> str:
    """Of every file below `root`, hidden ones left out; empty where there are more than `MOST_FILES`."""
    files = list(islice(_files(root, "", set()), MOST_FILES + 1))
    return "" if len(files) > MOST_FILES else _digest(files)


def _stamps(config: RunConfig, tree: Tree | None) -> list[str]:
    """One for all files of the data set and one for each further file; none for drawn data and a library's weights."""
    files = [*_source_files(config), *_code_files(config)]
    return [*_dataset_stamps(config.dataset, tree or tree_stamp), *map(_file_stamp, files)]


def _dataset_stamps(config: DatasetConfig, tree: Tree) -> Iterator[str]:
    if isinstance(config, FileDatasetConfig):
        root = os.path.expanduser(config.root)
        yield tree(root)
        named = [getattr(config, key, None) for key in ANNOTATIONS]
        yield from (_file_stamp(Path(root, name)) for name in named if name)
        folders = [getattr(config, key, None) for key in IMAGES]
        yield from (tree(os.path.join(root, name)) for name in folders if name)


def _source_files(config: RunConfig) -> list[Path]:
    """Those that the user or a run of ours wrote; what a library keeps is named by its content."""
    if source := source_run(config):
        return [folder_of(source) / name for name in EXPORTED]
    path = getattr(config.source, "path", None)
    if path is None:
        return []
    folder = source_folder(path)
    return [folder / name for name in EXPORTED] if folder.is_dir() else [folder]


def _code_files(config: RunConfig) -> list[Path]:
    return [Path(config.model.file).expanduser()] if isinstance(config.model, ExtensionConfig) else []


def _files(folder: str, prefix: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    """Links are followed, each folder once."""
    with suppress(OSError):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            found = entry.stat()
            if not stat.S_ISDIR(found.st_mode):
                yield _line(prefix + entry.name, found)
            elif (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                yield from _files(entry.path, f"{prefix}{entry.name}/", seen)


def _file_stamp(path: Path) -> str:
    with suppress(OSError):
        return _line(path.name, path.stat())
    return f"{path.name} is not there"


def _line(name: str, found: os.stat_result) -> str:
    return f"{name} {found.st_size} {found.st_mtime_ns}"


def _digest(lines: list[str]) -> str:
    return hashlib.blake2b("\n".join(lines).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _read(folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads((folder / FILE).read_text())
        return found if isinstance(found, dict) else {}
    return {}


def _write(folder: Path, values: dict[str, Any]) -> None:
    """A folder that cannot be written costs a look at the data the next time, no more."""
    with suppress(OSError), replacing(folder / FILE) as path:
        path.write_text(json.dumps(values) + "\n")
