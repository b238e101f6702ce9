"""Fewer training images, for the question how many labels are needed."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from headstart.data.types import AnnotatedImage


def take_fraction(images: Sequence[AnnotatedImage], fraction: float, seed: int) -> list[AnnotatedImage]:
    """A random share of the images, at least one; 10 % is part of 20 % for the same seed. Order is kept."""
    count = max(1, round(len(images) * fraction))
    return _in_order(images, _shuffled(images, seed)[:count])


def take_shots(images: Sequence[AnnotatedImage], shots: int, num_classes: int, seed: int) -> list[AnnotatedImage]:
    """Images such that each class stands in at least `shots` of them, where there are that many.

    Greedy, one shot after another and the rarest class first; K shots are part of K + 1 shots for the same seed.
    Ignored boxes do not count, and images without boxes are not taken. Order is kept.
    """
    order = _shuffled(images, seed)
    holding: list[list[int]] = [[] for _ in range(num_classes)]
    for i in order:
        for label in _classes(images[i]):
            holding[label].append(i)
    rarest_first = sorted(range(num_classes), key=lambda label: (len(holding[label]), label))
    taken: set[int] = set()
    for shot in range(1, shots + 1):
        for label in rarest_first:
            missing = shot - sum(i in taken for i in holding[label])
            fresh = [i for i in holding[label] if i not in taken]
            taken.update(fresh[: max(0, missing)])
    return _in_order(images, taken)


def _shuffled(images: Sequence[AnnotatedImage], seed: int) -> list[int]:
    """Indices in random order, which depends on the images' names and the seed, not on their order."""
    indices = sorted(range(len(images)), key=lambda i: images[i].name)
    random.Random(seed).shuffle(indices)
    return indices


def _in_order(images: Sequence[AnnotatedImage], chosen: Sequence[int] | set[int]) -> list[AnnotatedImage]:
    return [images[i] for i in sorted(chosen)]


def _classes(image: AnnotatedImage) -> set[int]:
    return set(np.unique(image.labels[~image.ignore]).tolist())
