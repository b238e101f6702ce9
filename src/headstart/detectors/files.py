"""State dict files, read without running anything that is in them."""

from __future__ import annotations

import pickle
import pickletools
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from headstart.detectors.prefixes import DEPTH, State, find_state
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
        return load_file(path)  # it looks at all sizes and places in the header, of 100 MB at most, before the rest
    except (SafetensorError, OSError, ValueError, MemoryError) as error:
        raise UserError(f"{setting}={path} is no readable safetensors file: {error}") from error


def _read_torch(path: Path, setting: str) -> Any:
    _refuse_packed(path, setting)
    try:
        _check_names(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        _check_claims(content, path.stat().st_size)
        return content
    except pickle.UnpicklingError:
        raise UserError(
            f"{setting}={path} holds more than tensors, and reading that could run code from the file. "
            "Save model.state_dict() alone, as .safetensors or with torch.save, and name that file"
        ) from None  # torch advises to read it all the same
    except Exception as error:  # whatever a stranger's bytes provoke: RuntimeError, EOFError, IndexError, MemoryError
        raise UserError(f"{setting}={path} is damaged or no torch file: {error}") from error


def _check_names(path: Path) -> None:
    """ValueError, or whatever a stranger's bytes provoke, for a pickle that is none or has a name without end: torch
    looks through what it says of a name it does not know in a time that grows with the name's square."""
    for stream, number in _pickles(path):
        for _ in range(number):
            texts = (value for _, value, _ in pickletools.genops(stream) if isinstance(value, str))
            if any(len(word) > _LONGEST_NAME for text in texts for word in text.split()):
                raise ValueError(f"a name of more than {_LONGEST_NAME:,} characters")


_PICKLES, _LONGEST_NAME = 5, 10_000
"""What a file of the older form has before its numbers; characters."""


def _pickles(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """(where they begin, how many there are)"""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as stream:
            yield stream, _PICKLES
        return
    with zipfile.ZipFile(path) as file:
        for name in file.namelist():
            if name.endswith("/data.pkl"):
                with file.open(name) as stream:
                    yield stream, 1


def _refuse_packed(path: Path, setting: str) -> None:
    """torch packs nothing, but unpacks what is: a file of megabytes may hold as many gigabytes."""
    try:
        if not zipfile.is_zipfile(path):  # raises for what says that it spans several disks
            return
        with zipfile.ZipFile(path) as file:
            claimed = sum(item.file_size for item in file.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UserError(f"{setting}={path} is damaged or no torch file: {error}") from error
    if claimed > path.stat().st_size:
        raise UserError(
            f"{setting}={path}: {claimed:,} bytes are packed into {path.stat().st_size:,}, which torch.save does not "
            "do: it was not read. Save the state dict again"
        )


def _check_claims(content: Any, num_bytes: int, depth: int = 0) -> None:
    """A tensor may say that it repeats one number 10^12 times, and would be written out where it is used."""
    values = content.values() if isinstance(content, Mapping) else content if isinstance(content, list | tuple) else ()
    for value in values if depth <= DEPTH else ():
        if isinstance(value, Tensor) and value.numel() * value.element_size() > num_bytes:
            raise ValueError(f"a tensor of shape {tuple(value.shape)} is larger than the file")
        _check_claims(value, num_bytes, depth + 1)


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
