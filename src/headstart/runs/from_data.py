"""`null` in `dataset.min_size`, `dataset.max_size`, `model.anchor_scale` and `model.anchors`: the numbers that
the training boxes say.

They are found before a run is named, and stand in its configuration as if they had been typed. They depend on the data
set, its splits and the network alone, and on nothing that tells the arms of a study apart. Imports nothing heavy until
something is null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headstart.config.checks_sizes import left_to_data
from headstart.config.schema import DatasetConfig, RunConfig
from headstart.runs.inputs import dataset_stamp
from headstart.runs.pretrained import source_runs

if TYPE_CHECKING:
    from headstart.data.types import DetectionData


@dataclass(frozen=True)
class Known:
    """A data set as it was read before the run had a name."""

    data: DetectionData
    """With all of its training images."""
    stamp: str
    """Of its files before; empty where they cannot be known."""


@dataclass(frozen=True)
class Numbers:
    """A configuration without null, and where its numbers are from."""

    config: RunConfig
    words: tuple[str, ...] = ()
    """The overrides that say them."""
    lines: tuple[str, ...] = ()
    """For the user: what was found, and from what."""
    known: Known | None = None
    """The run's own data set, where it was read for them."""


def with_numbers(
    config: RunConfig, again: Callable[[Sequence[str]], RunConfig], know: Callable[[DatasetConfig], Known]
) -> Numbers:
    """`config` with a number for each null, the run's own first, then those of the runs that its source comes of.

    `again` composes it with further overrides, so that what refers to a number follows it; `know` reads a data set.
    Raises `UserError` where the data cannot be read, or has no box.
    """
    numbers = Numbers(config)
    for level in range(1 + len(source_runs(config))):
        run = [numbers.config, *source_runs(numbers.config)][level]
        if not left_to_data(run):
            continue
        known = know(run.dataset)
        found = {"source." * level + word: why for word, why in _find(run, known)}
        words = (*numbers.words, *found)
        lines = (*numbers.lines, *(f"{word}: {why}" for word, why in found.items()))
        numbers = Numbers(again(words), words, lines, numbers.known if level else known)
    return numbers


def know(config: DatasetConfig) -> Known:
    """Reads it, all of its training images included."""
    from headstart.data import catalog
    from headstart.data.info import num_outside

    stamp = dataset_stamp(config)
    data = catalog.whole(config)
    return Known(data, "" if num_outside(data.splits.values()) else stamp)


def knowing() -> Callable[[DatasetConfig], Known]:
    """As `know`, for a caller that asks for many runs at once: each data set is read once."""
    found: dict[str, Known] = {}

    def ask(config: DatasetConfig) -> Known:
        key = repr(replace(config, min_size=None, max_size=None, fraction=1.0, shots=None))
        if key not in found:
            found[key] = know(config)
        return found[key]

    return ask


def data_of(config: RunConfig, known: Known | None) -> DetectionData:
    """The run's data, read anew unless its files are still those of `known`."""
    from headstart.data import catalog

    if known is not None and known.stamp and known.stamp == dataset_stamp(config.dataset):
        return catalog.cut(known.data, config.dataset, config.seed)
    return catalog.read(config.dataset, config.seed)


def _find(run: RunConfig, known: Known) -> Iterator[tuple[str, str]]:
    from headstart.runs.box_fit import find

    return find(run, known.data)
