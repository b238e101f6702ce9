"""Whole runs of the tiny detector, on drawn pictures: two steps an epoch."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch

import headstart.run
from headstart.config import schema as s
from headstart.data.batch import Batch
from headstart.transfer.types import SourceWeights


@pytest.fixture
def tiny_network(tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """`headstart.run` makes a tiny detector of every model, and takes another for its source."""

    def source(config: Any, model: Any, backbone: Any, detector: Any, **_: Any) -> SourceWeights:
        if config.kind is s.SourceKind.scratch:
            return SourceWeights("scratch", {}, ())
        names = ("circle", "b", "c")
        return SourceWeights("checkpoint", dict(tiny(names, seed=1).state_dict()), ("",), row_names=names)

    def network(model: Any, backbone: Any, names: Any, postprocess: Any) -> Any:
        made = tiny(names, seed=torch.initial_seed() % 1000)
        made.__class__ = _of_bytes(type(made))
        return made

    monkeypatch.setattr(headstart.run, "build_detector", network)
    monkeypatch.setattr(headstart.run, "load_source", source)
    monkeypatch.setattr(headstart.run, "save_exported", lambda *_, **__: None)


@functools.cache
def _of_bytes(kind: Any) -> Any:
    """A detector that takes pictures of bytes, and such without boxes, as those of ours do."""

    def normalised(self: Any, batch: Batch) -> Any:
        return kind.normalised(self, batch) / 255

    return type("OfBytes", (kind,), {"normalised": normalised})
