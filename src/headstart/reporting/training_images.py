"""Whether runs learned from the same images: what a data set is called, and where it lies, does not say it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from headstart.records.record import RunRecord
from headstart.reporting.comparability import dataset_name, names_of, value_at
from headstart.reporting.measured import Run, fingerprints

NAME, ROOT, IMAGES = "dataset.name", "dataset.root", "dataset.images"
"""By which settings other training images can be told; the last is their fingerprint itself."""

ADDRESS = (NAME, ROOT)

NOT_OF_IMAGES = [
    "name",
    "root",
    "num_workers",
    "cache",
    "cache_dir",
    "cache_limit_gib",
    "download",
    "batch_size",
    "subset_seed",
    "min_size",
    "max_size",
    "resize",
]
"""Settings of a data set that do not choose its training images, or say where they lie."""


def told_by(runs: Sequence[Run]) -> str | None:
    """The setting that tells apart runs with the same choice of images that found others; None: all found the same.

    Runs that draw a subset of the images are not asked: each seed has its own.
    """
    choices = list(_choices(runs))
    if all(len({images for _, images in found}) == 1 for found in choices):
        return None
    known: dict[str, Callable[[RunRecord], Any]] = {
        NAME: dataset_name,
        ROOT: lambda record: value_at(record.config, ROOT),
    }
    return next((name for name, of in known.items() if all(_tells(of, found) for found in choices)), IMAGES)


def _choices(runs: Sequence[Run], subsets: bool = False) -> Iterator[list[tuple[Run, str]]]:
    """Runs with the same choice of images, each with the fingerprint of what it found."""
    alike: dict[str, list[tuple[Run, str]]] = defaultdict(list)
    for run, images in zip(runs, fingerprints(runs, "train"), strict=True):
        if subsets or not _is_subset(run[1]):
            alike[_choice(run[1])].append((run, images))
    yield from alike.values()


def _tells(value_of: Callable[[RunRecord], Any], found: Sequence[tuple[Run, str]]) -> bool:
    images: dict[Any, set[str]] = defaultdict(set)
    for (_, record), fingerprint in found:
        images[value_of(record)].add(fingerprint)
    return all(len(each) == 1 for each in images.values())


def _is_subset(record: RunRecord) -> bool:
    settings: dict[str, Any] = record.config.get("dataset", {})
    return settings.get("fraction", 1) != 1 or settings.get("shots") is not None


def _choice(record: RunRecord) -> str:
    settings: dict[str, Any] = record.config.get("dataset", {})
    seed = settings.get("subset_seed")
    drawn_with = (record.config.get("seed") if seed is None else seed) if _is_subset(record) else None
    return repr((drawn_with, sorted((key, str(word)) for key, word in settings.items() if key not in NOT_OF_IMAGES)))


def changed(runs: Sequence[Run]) -> Iterator[str]:
    """A line for each choice of images, named and placed alike, of which runs found different ones."""
    for found in _choices(runs, subsets=True):
        places: dict[Any, list[tuple[Run, str]]] = defaultdict(list)
        for run, images in found:
            places[dataset_name(run[1]), str(value_at(run[1].config, ROOT))].append((run, images))
        yield from filter(None, map(_line, places.values()))


def _line(found: Sequence[tuple[Run, str]]) -> str:
    sides: dict[str, list[str]] = defaultdict(list)
    for (path, _), images in found:
        sides[images[:8]].append(path.name)
    return "; ".join(f"{images}: {names_of(names)}" for images, names in sides.items()) if len(sides) > 1 else ""
