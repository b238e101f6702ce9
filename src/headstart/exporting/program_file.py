"""The graph as a program of torch.export: a .pt2 file that needs torch and torchvision, and no Headstart."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.export import ExportedProgram

from headstart.detectors.suppression import staying_scores
from headstart.exporting.contract import Contract
from headstart.replacing import replacing


def save_program(program: ExportedProgram, contract: Contract, path: Path) -> None:
    """One file, whole or not at all; what `contract` says is its extra file `headstart`."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        torch.export.save(without_ours(program), file, extra_files=contract.as_metadata())


def without_ours(program: ExportedProgram) -> ExportedProgram:
    """Of operators of torch and torchvision alone."""
    return program.run_decompositions({torch.ops.headstart.staying.default: staying_scores})
