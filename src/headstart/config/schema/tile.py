"""Windows of pictures that are too large to be seen whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass
class TileConfig:
    """Pictures are seen in tiles, each of which `min_size` and `max_size` then resize: what is small in a large picture
    is lost where all of it is resized. What is measured, counted and drawn as a subset stays whole pictures."""

    size: Optional[int] = None
    """Side of a tile in pixels of the original; null: pictures are seen whole. One that is no larger is its own only
    tile."""
    overlap: float = 0.2
    """Share of its side, at least, that a tile has in common with the next one, below 0.9: an object of up to that size
    is whole in one of them."""
    min_visible: float = 0.5
    """Share of an object's box that a tile must show for it to be learnt there; of less it is ignored, which is neither
    an object nor background."""
    empty: float = 0.2
    """Share of the tiles without an object that training sees: always the same ones."""
    whole: bool = True
    """The whole picture is seen, too: what is larger than a tile is whole nowhere else."""
