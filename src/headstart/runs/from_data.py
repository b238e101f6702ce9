"""`null` in `dataset.min_size`, `dataset.max_size` and `model.anchor_scale`: the numbers that the training boxes say.

They are found before a run is named, and stand in its configuration as if they had been typed. They depend on the data
set, its splits and the network alone, and on nothing that tells the arms of a study apart. Imports nothing heavy until
something is null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headstart.config.checks_sizes import left_to_data
from headstart.config.plain import plain
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
        found = {"source." * level + word: why for word, why in _find(run, known.data)}
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


def _find(run: RunConfig, data: DetectionData) -> Iterator[tuple[str, str]]:
    """(override, why) of each."""
    from headstart.data.sizes import SHARE, SMALL, TrainingBoxes, find_min_size, long_side, median_side
    from headstart.detectors import anchors

    boxes = TrainingBoxes.of(data)
    of = f"of the {len(boxes.boxes_xyxy):,} training boxes of {data.name}"
    min_size, max_size = run.dataset.min_size, run.dataset.max_size
    stretched = plain(getattr(run.dataset, "resize", "keep")) == "stretch"
    if min_size is None:
        min_size, small, limit = find_min_size(boxes, max_size, stretched)
        why = f"{small:.0%} {of} are below {SMALL} px there, at most {SHARE:.0%} should be"
        yield f"dataset.min_size={min_size}", f"{why}; no more, for {limit}" if limit else why
    if max_size is None:
        max_size = long_side(min_size, stretched)
        yield f"dataset.max_size={max_size}", f"goes with dataset.min_size={min_size}"
    if "model.anchor_scale" in left_to_data(run):
        seen, levels = boxes.seen(min_size, max_size, stretched), anchors.levels_of(run.model, run.backbone)
        scale = anchors.find_scale(*seen, levels)
        then, now = (f"{anchors.met(*seen, levels, one):.0%}" for one in (1.0, scale))
        yield (
            f"model.anchor_scale={scale:g}",
            (
                f"{now} {of} have an anchor of IoU {anchors.MET:g} or more ({then} with scale 1); their median side is "
                f"{median_side(seen[0]):.0f} px at {min_size} x {max_size}"
            ),
        )
