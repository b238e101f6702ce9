"""Evaluation as Lightning runs it: training builds on it, `headstart evaluate` uses it as it is."""

from __future__ import annotations

import lightning as L

from headstart.data.batch import Batch, Detections
from headstart.detectors.interface import Detector, Features
from headstart.evaluation.coco_map import CocoMeanAveragePrecision, MapResult


class EvaluationModule(L.LightningModule):
    """Predicts batch by batch, computes the mAP once. `evaluation` is the last validation's or test's result."""

    def __init__(self, detector: Detector, metric: CocoMeanAveragePrecision) -> None:
        super().__init__()
        self.detector = detector
        self.metric = metric
        self.evaluation: MapResult | None = None

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Detections]:
        return self._predict(batch, "val")

    def on_validation_epoch_end(self) -> None:
        self._finish("val")

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Detections]:
        return self._predict(batch, "test")

    def on_test_epoch_end(self) -> None:
        self._finish("test")

    def known_features(self, split: str, batch: Batch) -> Features | None:
        """Those of the images, where they need not be computed."""
        return None

    def _predict(self, batch: Batch, split: str) -> dict[str, Detections]:
        found = self.detector.find(batch, self.known_features(split, batch))
        self.metric.update(found, batch.targets, batch.frames)
        return {"detections": found}

    def _finish(self, split: str) -> None:
        data = getattr(self.trainer, "datamodule", None)  # None where there are but loaders
        self.evaluation = self.metric.compute(data and data.truth(split), data and data.views.get(split))
        self.metric.reset()
        # The metric has gathered over all processes already.
        scalars = {f"{split}/{name}": value for name, value in self.evaluation.scalars().items()}
        self.log_dict(scalars, sync_dist=False)
