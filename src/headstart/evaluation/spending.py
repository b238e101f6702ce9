"""What is spent on parts of a run that are no training, by name. It travels in the checkpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from lightning.pytorch.callbacks import Callback

from headstart.evaluation.cost import cpu_seconds


class Spending(Callback):
    """Wall and CPU seconds of named blocks. Of blocks within each other, time counts for the innermost."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {}
        self._current: str | None = None
        self._since = np.zeros(2)

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        outer = self._switch_to(name)
        try:
            yield
        finally:
            self._switch_to(outer)

    def _switch_to(self, name: str | None) -> str | None:
        now = np.array([time.perf_counter(), cpu_seconds()])
        if self._current is not None:
            before = self.spent.get(self._current, [0.0, 0.0])
            self.spent[self._current] = (before + now - self._since).tolist()
        outer, self._current, self._since = self._current, name, now
        return outer

    def as_dict(self) -> dict[str, dict[str, float]]:
        """Name -> wall_seconds and cpu_seconds."""
        return {name: {"wall_seconds": wall, "cpu_seconds": cpu} for name, (wall, cpu) in self.spent.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"spent": self.spent}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.spent = state_dict["spent"]
