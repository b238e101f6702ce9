"""Pictures and tables of a run, for the loggers that show them."""

from __future__ import annotations

import math
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor
from torchvision.utils import draw_bounding_boxes

from headstart.data.batch import Batch
from headstart.data.types import Prediction, Target
from headstart.transfer.types import TransferPlan
from headstart.visible import cell

SHOWN_FROM_SCORE = 0.3
"""Detections below this score would cover the picture."""


class LogDetections(Callback):
    """The plan at the start; some validation images whenever the mAP improved; the AP of each class at the end."""

    def __init__(self, num_images: int) -> None:
        self.num_images = num_images
        self.best = -math.inf
        self.shown: list[tuple[Tensor, Target, Prediction]] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        for run in _wandb_runs(trainer):
            run.log({"plan": _plan_table(pl_module.plan)})

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.shown = []

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        room = self.num_images - len(self.shown)
        if room > 0 and _shows(trainer):  # to take them apart waits for the device
            data: Any = trainer
            pictured = batch if batch.has_pixels else data.datamodule.pictured("val", batch)
            pairs = zip(pictured.per_image(), outputs["detections"].per_image(), strict=True)
            self.shown += [(image, target, found) for (image, target), found in pairs][:room]

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero or pl_module.evaluation is None or not pl_module.evaluation.map > self.best:
            return
        self.best = pl_module.evaluation.map
        names = pl_module.detector.class_names
        if not self.shown:
            return
        for run in _wandb_runs(trainer):
            run.log({"val/detections": [_wandb_image(*shown, names) for shown in self.shown]})
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for i, shown in enumerate(self.shown):
                    logger.experiment.add_image(f"val/detections/{i}", _drawn(*shown, names), trainer.global_step)

    def on_fit_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        for run in _wandb_runs(trainer):
            if pl_module.evaluation is not None:
                import wandb

                rows: list[Any] = [[cell(name), ap] for name, ap in pl_module.evaluation.per_class.items()]
                run.log({"val/ap_per_class": wandb.Table(columns=["class", "AP"], data=rows)})

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]


def _shows(trainer: L.Trainer) -> bool:
    return any(isinstance(logger, WandbLogger | TensorBoardLogger) for logger in trainer.loggers)


def _wandb_runs(trainer: L.Trainer) -> list[Any]:
    """On the process that logs; none with WANDB_MODE=disabled."""
    loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
    return [logger.experiment for logger in loggers] if trainer.is_global_zero else []


def _plan_table(plan: TransferPlan) -> Any:
    import wandb

    rows: list[Any] = [[row.stage, row.parameters, row.trainable, row.lr or 0.0, row.norm] for row in plan.stages]
    return wandb.Table(columns=["stage", "parameters", "training", "learning rate", "normalisation"], data=rows)


def _wandb_image(image: Tensor, target: Target, prediction: Prediction, names: tuple[str, ...]) -> Any:
    import wandb

    labels = dict(enumerate(names))
    truth = [_wandb_box(box, int(label), names) for box, label in zip(target.boxes_xyxy, target.labels, strict=True)]
    found = [
        _wandb_box(box, int(label), names, float(score))
        for box, label, score in zip(prediction.boxes_xyxy, prediction.labels, prediction.scores, strict=True)
        if score >= SHOWN_FROM_SCORE
    ]
    return wandb.Image(
        image.permute(1, 2, 0).cpu().numpy(),
        boxes={
            "ground_truth": {"box_data": truth, "class_labels": labels},
            "predictions": {"box_data": found, "class_labels": labels},
        },
    )


def _wandb_box(box_xyxy: Tensor, label: int, names: tuple[str, ...], score: float | None = None) -> dict[str, Any]:
    x1, y1, x2, y2 = (float(value) for value in box_xyxy)
    box: dict[str, Any] = {
        "position": {"minX": x1, "minY": y1, "maxX": x2, "maxY": y2},
        "domain": "pixel",
        "class_id": label,
        "box_caption": names[label] if score is None else f"{names[label]} {score:.2f}",
    }
    return box if score is None else box | {"scores": {"score": score}}


def _drawn(image: Tensor, target: Target, prediction: Prediction, names: tuple[str, ...]) -> Tensor:
    """Ground truth in green, detections in orange. (3, H, W) uint8."""
    keep = prediction.scores >= SHOWN_FROM_SCORE
    picture = draw_bounding_boxes(image.cpu(), target.boxes_xyxy.cpu(), colors="lime")
    captions = [names[int(label)] for label in prediction.labels[keep]]
    return draw_bounding_boxes(picture, prediction.boxes_xyxy[keep].float().cpu(), captions, colors="orange")
