"""Losses, gradients and weights that are not finite: found before they do harm, told with what they came from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn.utils import get_total_norm

from headstart.errors import UserError
from headstart.evaluation.reading import Reading

LARGEST = 1e18
"""Norm of a gradient or of the weights: the square of a greater one is no float32, so that no clipping is left."""
OTHERS_SECONDS = 10
"""For the process whose loss it was to end this one, where several share their gradients."""
SKIPPED = "No update was made with it. "
REMEDY = (
    "Look at its pictures and boxes; or give a lower rate (optimizer.lr=…), trainer.gradient_clip_val=1, or "
    "trainer.precision=32-true."
)


@dataclass
class Seen:
    """A batch, or all that were accumulated into one update."""

    where: str
    """`epoch 2, batch 3`."""
    pictures: Callable[[], list[str]]
    names: tuple[str, ...]
    """Of its losses."""
    losses: Reading


@dataclass
class Update:
    """What is still to be read of one."""

    batches: list[Seen]
    gradient: Reading | None
    facts: str

    def is_there(self) -> bool:
        readings = [*(batch.losses for batch in self.batches), *([self.gradient] if self.gradient else [])]
        return all(reading.is_there() for reading in readings)


class FiniteWatch:
    """Ends a run for a loss or gradient that is not finite.

    Before the update to which it would lead, where its numbers are there by then (on the CPU always); a device is not
    waited for: what it still computes is read at the next update, or at the end of the epoch, before anything is
    validated or kept.
    """

    def __init__(self) -> None:
        self.process, self.processes = 0, 1
        self._batches: list[Seen] = []
        self._update: Update | None = None

    def saw(self, where: str, pictures: Callable[[], list[str]], names: Sequence[str], losses: Reading) -> None:
        """A batch, the names of its losses and their values (K,)."""
        self._batches.append(Seen(where, pictures, tuple(names), losses))

    def before_update(self, gradients: Iterable[Tensor] | None, step: int, rates: Sequence[float]) -> None:
        """Raises `UserError` where a loss since the last update, or a gradient, is not finite, or the last update's.

        `step` counts from 1; `rates` are those of the optimizer's groups. No gradients where a scaler skips such
        updates itself.
        """
        self.read_update()
        batches, self._batches = self._batches, []
        found = list(gradients or ())
        self._update = Update(batches, Reading(_norm(found)) if found else None, self._facts(step, rates))
        if self._update.is_there():
            self.read_update(SKIPPED)

    def read_update(self, done: str = "") -> None:
        """Raises `UserError` where the losses or the gradient of the last update were not finite. `done`: about it."""
        update, self._update = self._update, None
        if update is None:
            return
        for batch in update.batches:
            if not all(map(math.isfinite, batch.losses.get())):
                raise _error("The loss is not finite", [batch], update.facts, done)
        if update.gradient is None or update.gradient.get()[0] < LARGEST:
            return
        if self.processes > 1:  # it is the sum of theirs: the one whose loss it was says so
            time.sleep(OTHERS_SECONDS)
        raise _error("The loss is finite, but not its gradient", update.batches, update.facts, done)

    def _facts(self, step: int, rates: Sequence[float]) -> str:
        least, most = min(rates), max(rates)
        shown = f"{most:.3g}" if least == most else f"{least:.3g} to {most:.3g}"
        of_several = f", process {self.process + 1} of {self.processes}"
        return f"step {step}, learning rate {shown}" + of_several * (self.processes > 1)

    def before_keeping(self, weights: Iterable[Tensor], epoch: int) -> None:
        """At the end of an epoch. Raises `UserError` where a weight is not finite."""
        self.read_update()
        if not Reading(_norm(list(weights))).get()[0] < LARGEST:
            raise UserError(f"The weights are not finite after epoch {epoch}, which is not kept. {REMEDY}")


def _norm(tensors: list[Tensor]) -> Tensor:
    """Euclidean, of all values: no less than the largest; NaN where one is. On a CPU a tenth of the maximum's time."""
    return get_total_norm(tensors)


def _error(what: str, batches: Sequence[Seen], facts: str, done: str) -> UserError:
    """Its first line is what a study shows."""
    last = batches[-1]
    values = ", ".join(f"{name} {value:.3g}" for name, value in zip(last.names, last.losses.get(), strict=True))
    pictures = [name for batch in batches for name in batch.pictures()]
    return UserError(f"{what} in {last.where} ({values}; {facts}). {done}{REMEDY}\nIts pictures: {', '.join(pictures)}")
