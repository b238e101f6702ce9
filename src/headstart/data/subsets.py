"""Fewer training images, for the question how many labels are needed."""

from __future__ import annotations

import random
from collections.abc import Sequence

from headstart.data.table import ImageTable
from headstart.data.types import AnnotatedImage


def take_fraction(images: Sequence[AnnotatedImage], fraction: float, seed: int) -> ImageTable:
    """A random share of the images, at least one; 10 % is part of 20 % for the same seed. Order is kept."""
    table = ImageTable.of(images)
    count = max(1, round(len(table) * fraction))
    return table.take(sorted(_shuffled(table, seed)[:count]))


def take_shots(images: Sequence[AnnotatedImage], shots: int, num_classes: int, seed: int) -> ImageTable:
    """Images such that each class stands in at least `shots` of them, where there are that many.

    Greedy, one shot after another and the rarest class first; K shots are part of K + 1 shots for the same seed.
    Ignored boxes do not count, and images without boxes are not taken. Order is kept.
    """
    table = ImageTable.of(images)
    classes = _classes(table)
    holding: list[list[int]] = [[] for _ in range(num_classes)]
    for i in _shuffled(table, seed):
        for label in classes[i]:
            holding[label].append(i)
    rarest_first = sorted(range(num_classes), key=lambda label: (len(holding[label]), label))
    taken: set[int] = set()
    for shot in range(1, shots + 1):
        for label in rarest_first:
            missing = shot - sum(i in taken for i in holding[label])
            fresh = [i for i in holding[label] if i not in taken]
            taken.update(fresh[: max(0, missing)])
    return table.take(sorted(taken))


def _shuffled(images: ImageTable, seed: int) -> list[int]:
    """Indices in random order, which depends on the images' names and the seed, not on their order."""
    names = [*images.names]
    indices = sorted(range(len(images)), key=names.__getitem__)
    random.Random(seed).shuffle(indices)
    return indices


def _classes(images: ImageTable) -> list[set[int]]:
    """Of each image those that it trains."""
    classes: list[set[int]] = [set() for _ in range(len(images))]
    trains = ~images.ignore
    labels, owners = images.objects["labels"][trains].tolist(), images.owners()[trains].tolist()
    for label, owner in zip(labels, owners, strict=True):
        classes[owner].add(label)
    return classes
