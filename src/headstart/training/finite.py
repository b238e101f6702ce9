"""Losses, gradients and weights that are not finite: found before they do harm, told with what they came from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from headstart.errors import UserError

LARGEST = 1e18
"""Of a gradient or a weight: the square of a greater one is no float32, so that no norm, and no clipping, is left."""
OTHERS_SECONDS = 10
"""For the process whose loss it was to end this one, where several share their gradients."""
SKIPPED = "No update was made with it. "
REMEDY = (
    "Look at its pictures and boxes; or give a lower rate (optimizer.lr=…), trainer.gradient_clip_val=1, or "
    "trainer.precision=32-true."
)


class Reading:
    """Numbers on their way from the device to the host, which waits for them only where it asks for them."""

    def __init__(self, values: Tensor) -> None:
        values = values.detach().float()
        self.event = torch.cuda.Event() if values.is_cuda else None
        self.values = values
        if self.event is not None:
            self.values = torch.empty_like(values, device="cpu", pin_memory=True).copy_(values, non_blocking=True)
            self.event.record()

    def is_there(self) -> bool:
        return self.event is None or self.event.query()

    def get(self) -> list[float]:
        if self.event is not None:
            self.event.synchronize()
        return self.values.reshape(-1).tolist()


@dataclass
class Seen:
    """A batch, or all that were accumulated into one update."""

    where: str
    """`epoch 2, batch 3`."""
    pictures: list[str]
    names: tuple[str, ...]
    """Of its losses."""
    losses: Reading


class FiniteWatch:
    """Ends a run before the update to which a loss or gradient that is not finite would lead.

    The losses of a step are read right before its update: the device has the step's backward pass to do by then, and
    stands still for no moment. So has the largest gradient, where reading it costs no waiting (on the CPU); else it is
    read at the next update, or at the end of the epoch, before anything is validated or kept.
    """

    def __init__(self) -> None:
        self.processes = 1
        self._batches: list[Seen] = []
        self._gradient: tuple[Reading, Callable[[], UserError]] | None = None

    def saw(self, where: str, pictures: Sequence[str], losses: Mapping[str, Tensor]) -> None:
        """A batch and its losses."""
        values = Reading(torch.stack([value.detach().float() for value in losses.values()]))
        self._batches.append(Seen(where, list(pictures), tuple(losses), values))

    def before_update(self, gradients: Iterable[Tensor] | None, facts: str) -> None:
        """Raises `UserError` where a loss since the last update, or a gradient, is not finite.

        `facts` is what else is to be told of the step. No gradients where a scaler skips such updates itself.
        """
        self.read_gradient()
        batches, self._batches = self._batches, []
        for batch in batches:
            if not all(map(math.isfinite, batch.losses.get())):
                raise _error("The loss is not finite", [batch], facts, SKIPPED)
        if gradients is not None and (found := list(gradients)):
            reading = Reading(_largest(found))
            at_once = reading.is_there()
            what = "The loss is finite, but not its gradient"
            self._gradient = reading, partial(_error, what, batches, facts, SKIPPED if at_once else "")
            if at_once:
                self.read_gradient()

    def read_gradient(self) -> None:
        """Raises `UserError` where that of the last update was not finite."""
        pending, self._gradient = self._gradient, None
        if pending is None or pending[0].get()[0] < LARGEST:
            return
        if self.processes > 1:  # it is the sum of theirs: the one whose loss it was says so
            time.sleep(OTHERS_SECONDS)
        raise pending[1]()

    def before_keeping(self, weights: Iterable[Tensor], epoch: int) -> None:
        """At the end of an epoch. Raises `UserError` where a weight is not finite."""
        self.read_gradient()
        if not Reading(_largest(list(weights))).get()[0] < LARGEST:
            raise UserError(f"The weights are not finite after epoch {epoch}, which is not kept. {REMEDY}")


def _largest(tensors: list[Tensor]) -> Tensor:
    """Of all absolute values; NaN where one is."""
    return get_total_norm(tensors, math.inf)


def _error(what: str, batches: Sequence[Seen], facts: str, done: str) -> UserError:
    """Its first line is what a study shows."""
    last = batches[-1]
    values = ", ".join(f"{name} {value:.3g}" for name, value in zip(last.names, last.losses.get(), strict=True))
    pictures = [name for batch in batches for name in batch.pictures]
    return UserError(f"{what} in {last.where} ({values}; {facts}). {done}{REMEDY}\nIts pictures: {', '.join(pictures)}")
