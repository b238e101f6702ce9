"""State dict files, read without running anything that is in them."""

from __future__ import annotations

import pickle
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from headstart.detectors.prefixes import State, find_state
from headstart.errors import UserError


def read_tensors(path: Path, setting: str = "source.path") -> dict[str, Tensor]:
    """Tensors of a `.safetensors` file or a torch state dict, as they are named there. As `read_state`."""
    return read_state(path, (), setting).tensors


def read_state(path: Path, known: Collection[str], setting: str = "source.path") -> State:
    """Tensors of a `.safetensors` file, a torch state dict, or the checkpoint of a training program, under the names
    that fit most of `known`.

    Raises `UserError`, naming `setting`, where the file is absent, damaged, unsafe or no state dict, or where two of
    its dictionaries fit.
    """
    if not path.is_file():
        raise UserError(f"{setting}={path}: no such file")
    content = _read_safetensors(path, setting) if path.suffix == ".safetensors" else _read_torch(path, setting)
    state = find_state(content, known, f"{setting}={path}")
    if state is None:
        found = ", ".join(map(str, list(content)[:5])) if isinstance(content, dict) else type(content).__name__
        raise UserError(
            f"{setting}={path} holds no state dict of a detector (found: {found or 'nothing'}): "
            "save model.state_dict() alone, as .safetensors or with torch.save"
        )
    return state


def _read_safetensors(path: Path, setting: str) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{setting}={path} is no readable safetensors file: {error}") from error


def _read_torch(path: Path, setting: str) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{setting}={path} holds more than tensors, and reading that could run code from the file. "
            "Save model.state_dict() alone, as .safetensors or with torch.save, and name that file"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise UserError(f"{setting}={path} is damaged or no torch file: {error}") from error


def hub_file(url: str) -> Path:
    """The file of `url` in torch.hub's cache, downloaded once if it is not there.

    A cached file is used as it is, as torch.hub does; a download must have the hash that its name ends in.
    Raises `UserError`, saying which file to put where, when the download fails.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    found = re.search(r"-([a-f0-9]+)\.", path.name)
    try:
        torch.hub.download_url_to_file(url, str(path), found.group(1) if found else None)
    except (OSError, RuntimeError) as error:  # no network, HTTP status, hash of another file
        raise UserError(
            f"cannot download {url} ({error}): fetch it on another machine and put it at {path}, "
            "or name it with source.path=<file>"
        ) from error
    return path
