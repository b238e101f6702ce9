"""Weights, models and records changed at random are read or refused in words, within bounded memory and time."""

import contextlib
import json
import signal
import struct
from collections.abc import Callable
from functools import reduce
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from headstart.detectors.files import read_tensors
from headstart.detectors.graph_def import read_constants
from headstart.errors import UserError
from headstart.inference.export import load_exported
from headstart.records.record import RunRecord
from headstart.training.checkpoints import NEEDED, why_unreadable

from ..data.test_readers_fuzz import CPU_SECONDS, QUIET, bounded, mutated
from .test_models import MODEL

TENSORS = {
    "a.weight": torch.randn(4, 3, 3, 3),
    "a.bias": torch.zeros(5),
    "steps": torch.tensor(3),
    "half": torch.ones(2).half(),
}
LENGTHS = [
    struct.pack("<Q", 2**60),
    b"\xff" * 8,
    b"\x80" * 10,
    b"F4",
    b"F8_E8M0",
    b"C64",
    b"[-1]",
    b"\x80\x02cos\nsystem\n",
]
PUTS = st.builds(mutated.put, st.floats(0, 1).map(lambda share: share**4), st.integers(0, 8), st.sampled_from(LENGTHS))
CHANGES = st.lists(st.one_of(mutated.CHANGE, PUTS), min_size=1, max_size=4)


def torch_file(old: bool) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        kept = dict.fromkeys(NEEDED, 1) | {"state_dict": TENSORS}
        torch.save(kept, folder / "last.ckpt", _use_new_zipfile_serialization=not old)
        return folder / "last.ckpt"

    return write


def exported(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        save_file(TENSORS, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "model.json").write_text(json.dumps(MODEL))
        return folder / name

    return write


def record(folder: Path) -> Path:
    RunRecord(status="finished", config={"a": {"b": 1}}, metrics={"val": {"map": 0.5}}, plan=[{"stage": "x"}]).write(
        folder / "record.json"
    )
    return folder / "record.json"


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def graph(folder: Path) -> Path:
    sizes = field(2, b"\x08\x02") + field(2, b"\x08\x03")
    tensor = field(8, b"\x08\x01" + field(2, sizes) + field(4, b"\0" * 24))
    node = field(1, field(1, b"n") + field(2, b"Const") + field(5, field(1, b"value") + field(2, tensor)))
    (folder / "graph.pb").write_bytes(node * 4)
    assert read_constants(folder / "graph.pb")["n"].shape == (2, 3)
    return folder / "graph.pb"


KINDS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    "checkpoint": (torch_file(old=False), read_tensors),
    "older checkpoint": (torch_file(old=True), read_tensors),
    "to go on from": (torch_file(old=False), why_unreadable),
    "safetensors": (exported("model.safetensors"), read_tensors),
    "exported": (exported("model.safetensors"), load_exported),
    "description": (exported("model.json"), load_exported),
    "record": (record, RunRecord.read),
    "graph": (graph, read_constants),
}
"""Name -> what writes a whole file, and what reads it."""


def run(folder: Path, name: str, number: int) -> None:
    write, read = KINDS[name]
    path = write(folder)
    content = path.read_bytes()

    def check(changes: list[mutated.Change]) -> None:
        path.write_bytes(reduce(lambda now, change: change(now), changes, content))
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        with contextlib.suppress(UserError):
            read(path)

    with contextlib.suppress(UserError):
        read(path)  # what is imported takes memory and time once
    with bounded():
        settings(max_examples=number, derandomize=number < 1000, **QUIET)(given(CHANGES)(check))()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", KINDS)
def test_files_of_models_with_changed_bytes_are_read_or_refused_in_words(tmp_path, name):
    run(tmp_path, name, 50)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", KINDS)
def test_ten_thousand_changed_files_of_models_are_read_or_refused_in_words(tmp_path, name):
    run(tmp_path, name, 10_000)
