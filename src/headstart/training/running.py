"""The losses of a training: their sums over an epoch, which stay on the device, and each step's when it has come."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from headstart.evaluation.reading import Reading


class RunningLosses:
    """Of this process. Lightning's own averages are a dozen small operations for each loss and step."""

    def __init__(self) -> None:
        self.shown: float | None = None
        """Of one of the last steps, all losses together."""
        self._names: tuple[str, ...] = ()
        self._sums: Tensor | None = None
        self._images = 0
        self._on_their_way: deque[tuple[int, Reading]] = deque()

    def add(self, step: int, names: Sequence[str], losses: Tensor, reading: Reading, images: int) -> None:
        """Means over so many images, (K,), and their copy for the host."""
        weighted = losses.detach().float() * images
        self._sums = weighted if self._sums is None else self._sums + weighted
        self._names, self._images = tuple(names), self._images + images
        self._on_their_way.append((step, reading))

    def take(self) -> tuple[dict[str, Tensor], int]:
        """The means over all images since the last call, and how many those were."""
        assert self._sums is not None
        means, images = self._sums / self._images, self._images
        self._sums, self._images = None, 0
        return dict(zip(self._names, means.unbind(), strict=True)), images

    def arrived(self) -> Iterator[tuple[int, float]]:
        """Steps whose losses have come since the last call, and those."""
        while self._on_their_way and self._on_their_way[0][1].is_there():
            step, reading = self._on_their_way.popleft()
            self.shown = math.fsum(reading.get())
            yield step, self.shown

    def log_to(self, trainer: Any) -> None:
        """What has come, as Lightning logs steps: it would wait for them."""
        for step, loss in self.arrived():
            if trainer.log_every_n_steps and (step + 1) % trainer.log_every_n_steps == 0:
                for logger in trainer.loggers:
                    logger.log_metrics({"train/loss_step": loss, "epoch": trainer.current_epoch}, step)
