"""After training: which mixture of the source's weights and the fine-tuned ones is best (WiSE-FT)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from headstart.config.schema import MonitorConfig
from headstart.detectors.interface import Detector
from headstart.evaluation.coco_map import MapResult
from headstart.transfer.interpolation import interpolated
from headstart.transfer.types import LoadReport


def keep_best_mixture(
    detector: Detector,
    source: Mapping[str, Tensor],
    report: LoadReport,
    alphas: Sequence[float],
    measure: Callable[[], MapResult],
    measure_source: Callable[[], float] | None,
    monitor: MonitorConfig,
) -> list[dict[str, float]]:
    """Leaves the detector with the best of the mixtures, of equal ones that nearest to the source; the whole curve.

    A row is `alpha` (0: the source, 1: the fine-tuned weights), `map` and the monitored metric on the target's
    validation images, and, where `measure_source` is given, `source_map` on the source's.
    """
    tuned = {name: tensor.detach().clone() for name, tensor in detector.state_dict().items()}
    key = monitor.name.removeprefix("val/")
    rows = []
    for alpha in sorted(set(alphas)):
        detector.load_state_dict(interpolated(source, tuned, report, alpha))
        found = measure()
        row = {"alpha": alpha, "map": found.map, key: found.scalars()[key]}
        if measure_source is not None:
            row["source_map"] = measure_source()
        rows.append(row)
    sign = 1.0 if monitor.mode == "max" else -1.0
    best = max(rows, key=lambda row: -math.inf if math.isnan(row[key]) else sign * row[key])
    for row in rows:
        row["kept"] = row is best
    detector.load_state_dict(interpolated(source, tuned, report, best["alpha"]))
    return rows
