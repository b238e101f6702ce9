"""A colour for each class: by its name, so that it is the same in every picture, whichever model drew it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache

COLOURS = (
    *("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#0072B2"),
    *("#7F3C8D", "#11A579", "#F2B701", "#E73F74", "#80BA5A", "#A5AA99", "#66C5CC"),
    *("#F89C74", "#B497E7", "#87C55F", "#FE88B1", "#9D755D", "#1D6996", "#EDAD08"),
)
"""The first seven are distinct for the colour-blind, too (Okabe and Ito, 2008)."""
EASY = 7


def colours_of(class_names: Sequence[str]) -> tuple[str, ...]:
    """One for each name, whatever their order. Up to seven classes have the first seven colours."""
    return _colours_of(tuple(class_names))


@cache
def _colours_of(class_names: tuple[str, ...]) -> tuple[str, ...]:
    """By a digest of the name; of names that would have the same colour the later ones have the next that is free."""
    palette = COLOURS[:EASY] if len(class_names) <= EASY else COLOURS
    free, chosen = list(palette), dict[str, str]()
    for name in sorted(set(class_names)):
        free = free or list(palette)
        start = int.from_bytes(hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=4).digest(), "big")
        places = (palette[(start + step) % len(palette)] for step in range(len(palette)))
        chosen[name] = next(colour for colour in places if colour in free)
        free.remove(chosen[name])
    return tuple(chosen[name] for name in class_names)


def ink_on(colour: str) -> str:
    """Black or white, whichever is easier to read on `colour` (W3C's relative luminance)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return "black" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 else "white"
