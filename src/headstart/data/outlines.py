"""The classes of the `shapes` data sets as polygons. The y axis points down, as in images."""

from __future__ import annotations

import numpy as np


def rotation(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def _on_circle(degrees: np.ndarray) -> np.ndarray:
    """(N, 2) points of the unit circle, clockwise from the top."""
    angle = np.deg2rad(degrees)
    return np.stack([np.sin(angle), -np.cos(angle)], axis=1)


def _regular(corners: int) -> np.ndarray:
    return _on_circle(np.arange(corners) * 360 / corners)


def _star() -> np.ndarray:
    radius = np.where(np.arange(10) % 2, 0.45, 1.0)
    return _regular(10) * radius[:, None]


def _cross() -> np.ndarray:
    a, b = 0.3, 0.95
    arm = [(-a, -b), (a, -b), (a, -a)]
    return np.concatenate([np.array(arm) @ rotation(90 * quarter) for quarter in range(4)])


def _crescent() -> np.ndarray:
    """The unit disc without a disc of radius 0.75 around (0, -0.5): the circles meet at 46.6 and 75.5 degrees."""
    outer = _on_circle(np.linspace(46.6, 313.4, 40))
    inner = 0.75 * _on_circle(np.linspace(284.5, 75.5, 40)) - np.array([0, 0.5])
    return np.concatenate([outer, inner[1:-1]])


def _heart() -> np.ndarray:
    """The usual parametric heart, in the unit circle."""
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y - 2.5], axis=1) / 17


OUTLINES = {
    "circle": _regular(72),
    "square": _on_circle(np.array([45.0, 135.0, 225.0, 315.0])),
    "triangle": _regular(3),
    "pentagon": _regular(5),
    "star": _star(),
    "cross": _cross(),
    "crescent": _crescent(),
    "heart": _heart(),
}
"""Class -> (N, 2) corners in the unit circle, upright."""
