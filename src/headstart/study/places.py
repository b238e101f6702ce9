"""How many cells of a study run at a time: as many as the user says, or as many as pays. Imports no torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from headstart.errors import UserError
from headstart.study.resources import shares, visible_gpus
from headstart.study.usage import MIB, Machine, cores, gpu_use, machine, taken_by

AUTO = "auto"
SHARE = 0.8
"""Of the free memory, that cells are let into: a later one may need more than the first."""
LOOK_SECONDS, LATER_SECONDS = 0.5, 10.0
"""How often a cell is looked at, before the number is found and after."""


class Running(Protocol):
    process: Any
    """With a `pid`."""
    place: int


class Places:
    """So many at a time, always."""

    def __init__(self, number: int) -> None:
        self.gpus = shares(number)
        """Of each place."""
        self.number = self.sharing = number
        """How many are open, and how many share the processor with a cell that starts now."""

    def look(self, cells: Sequence[Running]) -> None:
        """Is told now and then of the cells that run."""

    def settle(self) -> None:
        """A cell is finished, or has validated an epoch that it trained here: it has shown what it needs."""


@dataclass(frozen=True)
class Needs:
    """The most that a cell was seen to take."""

    memory: int = 0
    """Bytes."""
    cores: float = 0.0
    gpu_memory: int = 0
    """Bytes."""
    gpu_busy: float = 0.0
    """0..1: the share of the time in which the GPU computed, since it first did."""


def room(needs: Needs, empty: Machine, gpus: Sequence[str]) -> dict[str, int]:
    """What limits the number of cells -> that number; `empty`: the machine without them, of whose `gpus` it may know
    some.

    A processor core or more for each, memory and the memory of a GPU for all, and as many on a GPU as keep it busy
    all the time. A GPU of which nothing is known has one.
    """
    found = {
        "processor cores": empty.cores // max(1, round(needs.cores)),
        "memory": int(SHARE * empty.memory / max(needs.memory, 1)),
    }
    if gpus and set(gpus) != set(empty.gpus):
        found["GPUs whose driver does not say how busy they are"] = len(gpus)
    elif gpus:
        free = [gpu.total - gpu.used for gpu in empty.gpus.values()]
        found["GPU memory"] = sum(int(SHARE * each / max(needs.gpu_memory, 1)) for each in free)
        found["GPU time"] = len(gpus) * int(1 / max(needs.gpu_busy, 0.01))
    return {what: max(1, number) for what, number in found.items()}


class MeasuredPlaces(Places):
    """One, until its cell has shown what it needs; then what `room` says. A cell that fails before that shows nothing:
    the next is alone again. Where a later one needs more, fewer start from then on."""

    def __init__(self, most: int, tell: Callable[[str], None]) -> None:
        super().__init__(most)
        self.number, self.most, self.tell = 1, most, tell
        self.names = visible_gpus()
        self.empty, self.needs = machine(self.names), Needs()
        self.is_settled = False
        self._began: dict[int, float] = {}
        self._busy: list[float] = []
        self._looked = 0.0

    def look(self, cells: Sequence[Running]) -> None:
        now = time.monotonic()
        for cell in cells:
            self._began.setdefault(cell.process.pid, now)
        if not cells or now - self._looked < (LATER_SECONDS if self.is_settled else LOOK_SECONDS):
            return
        self._looked = now
        taken = [taken_by(cell.process.pid) for cell in cells]
        needs = replace(self.needs, memory=max(self.needs.memory, *(memory for memory, _ in taken)))
        if not self.is_settled:  # there is one cell
            lived = now - self._began[cells[0].process.pid]
            needs = replace(needs, cores=taken[0][1] / max(lived, LOOK_SECONDS))
        self.needs = self._on_gpus(needs, [cell.place for cell in cells])
        if self.is_settled:
            self._open()

    def settle(self) -> None:
        if not self.is_settled and self.needs.memory:
            self._open()

    def _on_gpus(self, needs: Needs, places: Sequence[int]) -> Needs:
        """With what they take of GPUs: of one that several share an equal part."""
        sharing = [gpu for place in places for gpu in self.gpus[place]]
        found = gpu_use(list(dict.fromkeys(sharing)))
        for name in found.keys() & self.empty.gpus.keys():
            taken = (found[name].used - self.empty.gpus[name].used) // sharing.count(name)
            needs = replace(needs, gpu_memory=max(needs.gpu_memory, taken))
        if self.is_settled:
            return needs
        most = max((gpu.busy for gpu in found.values()), default=0.0)
        if most or self._busy:
            self._busy.append(most)
        return replace(needs, gpu_busy=sum(self._busy) / max(len(self._busy), 1))

    def _open(self) -> None:
        limits = room(self.needs, self.empty, self.names) | {"the cells that are left, and their processes": self.most}
        what, number = min(limits.items(), key=lambda limit: limit[1])
        if self.is_settled and number >= self.number:
            return
        self.is_settled, self.number, self.sharing = True, number, number
        self.tell(f"study.jobs=auto: {number} at a time, limited by {what}. {_told(self.needs, bool(self.names))}")


def _told(needs: Needs, on_gpu: bool) -> str:
    parts = [f"{needs.memory // MIB:,} MiB of memory", f"{needs.cores:.1f} processor cores"]
    if on_gpu:
        parts += [f"{needs.gpu_memory // MIB:,} MiB of its GPU", f"{needs.gpu_busy:.0%} of the GPU's time"]
    return f"A cell takes {', '.join(parts)}."


def places_for(jobs: Any, processes: Sequence[Any], tell: Callable[[str], None]) -> Places:
    """As `study.jobs` says, for cells that train with so many processes each."""
    return MeasuredPlaces(most_of(processes), tell) if jobs == AUTO else Places(jobs)


def check_jobs(jobs: Any) -> None:
    """Raises `UserError` where `study.jobs` is neither a number of cells nor `auto`."""
    is_number = isinstance(jobs, int) and not isinstance(jobs, bool)
    if jobs != AUTO and not (is_number and jobs >= 1):
        raise UserError(f"study.jobs={jobs} must be 1 or more, or auto.")


def most_of(processes: Sequence[Any]) -> int:
    """Cells that have a processor core for each of their processes, or, where they train with several, a GPU."""
    gpus = visible_gpus()
    everything = len(gpus) or 1
    each = max((_count(of_one, everything) for of_one in processes), default=1)
    devices = len(gpus) if gpus and each > 1 else cores()
    return max(1, min(len(processes), devices // each))


def _count(processes: Any, everything: int) -> int:
    """As `trainer.devices` says it."""
    if isinstance(processes, list):
        return len(processes)
    return processes if isinstance(processes, int) and processes > 0 else everything
