"""Tiles that cannot be."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.config.schema import TileConfig

SMALLEST = 32
"""Pixels of a tile's side."""
MOST_OVERLAP = 0.9
"""A pixel would be in a hundred tiles."""


def tile_problems(tile: TileConfig, key: str = "dataset.tile") -> Iterator[str]:
    """`key`: what the settings are called."""
    if tile.size is not None and tile.size < SMALLEST:
        yield f"{key}.size={tile.size} must be {SMALLEST} pixels or more, or null for whole pictures."
    if not 0 <= tile.overlap < MOST_OVERLAP:
        yield f"{key}.overlap={tile.overlap} must be 0 or more and below {MOST_OVERLAP}: a share of the tile."
    if not 0 < tile.min_visible <= 1:
        yield f"{key}.min_visible={tile.min_visible} must be above 0 and at most 1: a share of an object's box."
    if not 0 <= tile.empty <= 1:
        yield f"{key}.empty={tile.empty} must be 0 (none is seen) to 1 (all are)."
