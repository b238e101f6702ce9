"""The few shapes of batches that a run has: a network's kernels are chosen, and its graphs captured, for each of them.

Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Padding:
    """What a network wants of a canvas, so that it pads no further."""

    divisible: int = 1
    """Its sides are multiples of this many pixels …"""
    least: int = 1
    """… and have at least this many."""

    def up(self, side: int) -> int:
        return -(-max(side, self.least) // self.divisible) * self.divisible


@dataclass(frozen=True)
class Canvases:
    """At most three: for the pictures that lie, for those that stand, and for both."""

    sides_hw: tuple[tuple[int, int], ...]
    """Smallest first."""

    @staticmethod
    def of(sizes_hw: np.ndarray, padding: Padding | None = None) -> Canvases:
        """The smallest that hold pictures of the (n, 2) heights and widths."""
        padding = padding or Padding()
        lying = sizes_hw[:, 1] >= sizes_hw[:, 0]
        groups = [group for group in (sizes_hw[lying], sizes_hw[~lying], sizes_hw) if len(group)]
        sides = {(padding.up(int(height)), padding.up(int(width))) for height, width in (g.max(0) for g in groups)}
        return Canvases(tuple(sorted(sides, key=lambda side: (side[0] * side[1], side))))

    def holding(self, sizes_hw: np.ndarray) -> np.ndarray:
        """(n,) numbers of the smallest canvas that holds each picture; all are held by the largest."""
        fits = (np.asarray(self.sides_hw) >= sizes_hw[:, None]).all(-1)
        return fits.argmax(1)

    def of_batch(self, sizes_hw: np.ndarray) -> tuple[int, int]:
        """The smallest that holds pictures of all of these sizes."""
        return self.sides_hw[int(self.holding(sizes_hw.max(0)[None])[0])]

    def __str__(self) -> str:
        return ", ".join(f"{height} x {width}" for height, width in self.sides_hw)
