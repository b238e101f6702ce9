"""How a run is measured."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Engine(Enum):
    hotcoco = "hotcoco"
    faster_coco_eval = "faster_coco_eval"


@dataclass
class EvaluationConfig:
    engine: Engine = Engine.hotcoco
    max_detections: int = 100
    """Per image."""
    worst_pictures: int = 12
    """Of each split, those with the most errors stand in report.html; small JPEGs of them lie in <output_dir>/truth.
    0: no picture leaves the data set."""
    retention: bool = False
    """Measure, before and after training, what the detector knows of the source's own validation images; needs
    source=checkpoint with the folder of a run."""
