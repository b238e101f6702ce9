"""Mean and interval of a few numbers. Imports nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

T_QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""0.975 quantile of Student's t with 1 … 10 degrees of freedom (NIST/SEMATECH e-Handbook, table 1.3.6.7.2)."""

NORMAL_QUANTILE = 1.959964


def mean(values: Sequence[float]) -> float:
    """NaN for none."""
    return math.fsum(values) / len(values) if values else math.nan


def interval_95(values: Sequence[float]) -> float | None:
    """Half the width of the 95 % t-interval of the mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    centre = mean(values)
    variance = math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1)
    return t_quantile(len(values) - 1) * math.sqrt(variance / len(values))


def t_quantile(freedom: int) -> float:
    """0.975 quantile; above the table Fisher's expansion around the normal one, exact to 1e-3
    (Abramowitz and Stegun, 26.7.5)."""
    if freedom <= len(T_QUANTILES):
        return T_QUANTILES[freedom - 1]
    z = NORMAL_QUANTILE
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
