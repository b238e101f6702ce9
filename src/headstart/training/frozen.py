"""What no step of a run moves: written once, beside the checkpoints, which name it by its digest."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from headstart.errors import UserError
from headstart.replacing import replacing
from headstart.transfer.proof import FROZEN_FILE, tensors_digest

DIGEST = "frozen"
"""In a checkpoint: of the tensors that it leaves out."""
STATES = ("state_dict", "current_model_state")
"""Of a checkpoint; the second is of a run with a moving average, whose first is the average."""


class DirectIO(TorchCheckpointIO):
    """Writes a checkpoint to the very place that it is told, without the tensors `frozen`, which lie beside it.

    Lightning's goes through the memory and the folder of temporary files, which is full at times when the other is not.
    """

    def __init__(self, frozen: Collection[str] = ()) -> None:
        self.frozen = frozenset(frozen)
        self.digest: str | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        still = {name: tensor for name, tensor in checkpoint["state_dict"].items() if name in self.frozen}
        if still:
            self.digest = self.digest or _written(still, path.with_name(FROZEN_FILE))
            checkpoint = checkpoint | {DIGEST: self.digest}
            checkpoint |= {state: _without(checkpoint[state], still) for state in STATES if state in checkpoint}
        torch.save(checkpoint, path)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return whole(super().load_checkpoint(path, map_location, weights_only), Path(path))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """As `whole`, on the CPU."""
    return whole(torch.load(path, weights_only=True, map_location="cpu"), path)


def whole(checkpoint: dict[str, Any], path: Path) -> dict[str, Any]:
    """The checkpoint of `path` with what it leaves out.

    Raises `UserError` where that is not there, or is not what it was.
    """
    if DIGEST not in checkpoint:
        return checkpoint
    file = path.with_name(FROZEN_FILE)
    still = _read(file)
    if still is None or tensors_digest(still) != checkpoint[DIGEST]:
        what = "does not hold" if file.exists() else "is not there: it holds"
        raise UserError(
            f"{file} {what} the frozen tensors that {path} was written with (digest {checkpoint[DIGEST][:12]}). Bring "
            "that file back, or start anew with rerun=true."
        )
    states = {state: checkpoint[state] | still for state in STATES if state in checkpoint}
    return {name: value for name, value in checkpoint.items() if name != DIGEST} | states


def _without(state: dict[str, Tensor], still: Collection[str]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if name not in still}


def _written(still: dict[str, Tensor], file: Path) -> str:
    """The digest; where the file is there, as in a run that goes on, it stays."""
    digest = tensors_digest(still)
    there = _read(file)
    if there is None or tensors_digest(there) != digest:
        with replacing(file) as path:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in still.items()}, path)
    return digest


def _read(file: Path) -> dict[str, Tensor] | None:
    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError):
        return None
