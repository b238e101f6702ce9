"""Tails and quantiles of the distributions that verdicts rest on: Student's t, beta and the studentized range.

Written out, for importing scipy.stats takes half as long as comparing a thousand runs; the tests hold them to scipy.
Imports nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

STEPS = 200
"""Of a continued fraction, far more than it needs."""


def beta_tail(x: float, a: float, b: float) -> float:
    """Probability that a Beta(a, b) variable is above `x`, exact to 1e-12.

    By the continued fraction of the incomplete beta function (Numerical Recipes, 6.4; DLMF 8.17.22).
    """
    if x <= 0 or x >= 1:
        return float(x <= 0)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return 1 - front * _fraction(x, a, b) / a
    return front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """By Lentz's algorithm."""
    value, c, d = 1.0, 1.0, 0.0
    for step in range(1, STEPS):
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / _nonzero(1 + term * d)
        c = _nonzero(1 + term / c)
        value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return 1 / value


def _nonzero(value: float) -> float:
    return value if abs(value) > 1e-300 else 1e-300


def t_tail(t: float, freedom: float) -> float:
    """Two-sided: probability that Student's t is further from 0 than `t`."""
    return beta_tail(t * t / (freedom + t * t), 0.5, freedom / 2)


@lru_cache(maxsize=4096)
def t_quantile(tail: float, freedom: float) -> float:
    """Student's t is further from 0 than this with probability `tail`."""
    return _inverted(lambda t: t_tail(t, freedom), tail)


@lru_cache(maxsize=4096)
def range_quantile(tail: float, groups: int, freedom: float) -> float:
    """The studentized range is above this with probability `tail`."""
    return _inverted(lambda q: range_tail(q, groups, freedom), tail)


def _inverted(tail_of: Callable[[float], float], tail: float) -> float:
    """Where a falling function of positive numbers is `tail`, to 1e-9 of it: secants of the logarithms, bracketed."""
    low, high = 1.0, 2.0
    while tail_of(low) < tail:
        low /= 2
    while tail_of(high) > tail:
        high *= 2
    below, above = (math.log(max(tail_of(x), 1e-300) / tail) for x in (low, high))
    while high - low > 1e-9 * high:
        share = min(0.95, max(0.05, below / (below - above)))
        middle = low * (high / low) ** share
        found = math.log(tail_of(middle) / tail)
        low, below, high, above = (middle, found, high, above) if found > 0 else (low, below, middle, found)
    return high


def range_tail(q: float, groups: int, freedom: float) -> float:
    """Probability that the range of `groups` standard normal means over an independent standard deviation with
    `freedom` degrees of freedom is above `q`, to 2e-6 where `freedom` is at least groups - 1.

    The double integral of Copenhaver and Holland (1988), by the trapezoidal rule, which is all but exact for smooth
    functions that vanish at both ends: over the logarithm of the deviation and over the largest mean.
    """
    return max(
        0.0, math.fsum(weight * range_above(q * deviation, groups) for deviation, weight in _deviations(freedom))
    )


@lru_cache(maxsize=256)
def _deviations(freedom: float) -> tuple[tuple[float, float], ...]:
    """Values of a standard deviation with `freedom` degrees of freedom, and their probability."""
    width = 1 / math.sqrt(2 * freedom)
    logs = [width * i / 2 for i in range(-14 - round(24 * width), 11)]
    weights = [math.exp(freedom * (u - (math.exp(2 * u) - 1) / 2)) for u in logs]
    total = math.fsum(weights)
    return tuple(
        (math.exp(u), weight / total) for u, weight in zip(logs, weights, strict=True) if weight > 1e-12 * total
    )


STEP = 0.25
GRID = [STEP * i for i in range(-26, 31)]
DENSITY = [math.exp(-z * z / 2) / math.sqrt(2 * math.pi) * STEP for z in GRID]
BELOW = [math.erfc(-z / math.sqrt(2)) / 2 for z in GRID]


def range_above(width: float, groups: int) -> float:
    """Probability that the range of `groups` standard normal numbers is above `width`."""
    root = math.sqrt(2)
    found = 0.0
    for z, density, below in zip(GRID, DENSITY, BELOW, strict=True):
        found += density * (below - math.erfc((width - z) / root) / 2) ** (groups - 1)
    return 1 - groups * found
