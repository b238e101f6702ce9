"""The LightningModule: glue between detector, plan, metric and optimizer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from headstart.config.schema import SchedulerConfig
from headstart.data.types import Batch
from headstart.detectors.interface import Detector
from headstart.errors import UserError
from headstart.evaluation.coco_map import CocoMeanAveragePrecision
from headstart.evaluation.module import EvaluationModule
from headstart.training.distributed import rewrap
from headstart.training.schedule import group_factors, planned_epochs
from headstart.transfer.distillation import Teacher
from headstart.transfer.freezing import apply_phase, set_train_mode
from headstart.transfer.param_groups import optimizer_groups
from headstart.transfer.pull import Pull
from headstart.transfer.types import TransferPlan


def step_seed(seed: int, epoch: int, batch: int, rank: int) -> int:
    """Seed of everything random in one training step: a resumed run draws what the undisturbed one drew."""
    digest = hashlib.blake2b(f"{seed}/{epoch}/{batch}/{rank}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class DetectionModule(EvaluationModule):
    """Trains a detector as its plan says."""

    def __init__(
        self,
        detector: Detector,
        plan: TransferPlan,
        metric: CocoMeanAveragePrecision,
        make_optimizer: Callable[[list[dict[str, Any]]], Optimizer],
        scheduler: SchedulerConfig,
        seed: int,
        teacher: Teacher | None = None,
        pull: Pull | None = None,
    ) -> None:
        super().__init__(detector, metric)
        self.plan = plan
        self.phase = plan.phases[0]
        self.teacher = teacher
        self.pull = pull
        self.make_optimizer = make_optimizer
        self.scheduler = scheduler
        self.seed = seed
        self.validated = False
        """Whether this epoch was."""

    def setup(self, stage: str) -> None:
        # Lightning fills the model from a checkpoint first: float64 would go through float32, and no resume be exact.
        self.trainer.precision_plugin.convert_module(self)

    def train(self, mode: bool = True) -> DetectionModule:
        """As `nn.Module.train`, but what the plan fixes stays in eval mode: Lightning calls this all the time."""
        super().train(mode)
        if mode:
            set_train_mode(self.detector, self.phase)
        return self

    def on_train_epoch_start(self) -> None:
        self.validated = False
        self.phase = self.plan.phase_at(self.current_epoch)
        if apply_phase(self.detector, self.phase):
            rewrap(self.trainer, self)
        # Lightning leaves the modes as it finds them, and a module is born in training mode throughout.
        self.train()

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        self.validated = True

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        torch.manual_seed(step_seed(self.seed, self.current_epoch, batch_idx, self.global_rank))

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        # Lightning validates after the last batch of an epoch, and where it is told to stop: not after `max_steps`.
        if self.trainer.global_step == self.trainer.max_steps:
            self.trainer.should_stop = True

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        losses = self._losses(batch)
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            values = ", ".join(f"{name} {value.item():.3g}" for name, value in losses.items())
            raise UserError(
                f"The loss is not finite in epoch {self.current_epoch + 1}, batch {batch_idx + 1} ({values}). "
                "Give a lower rate (optimizer.lr=…), trainer.gradient_clip_val=1, or trainer.precision=32-true."
            )
        named = {f"train/{name}": value for name, value in losses.items()}
        # One collective per epoch each; what the bar shows between them is this process's own.
        named["train/loss"] = total
        self.log_dict(named, on_epoch=True, on_step=False, batch_size=len(batch), sync_dist=True)
        self.log("train/loss_step", total, on_epoch=False, on_step=True, batch_size=len(batch))
        return total

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        if self.teacher is None:
            return self.detector.losses(batch.images, batch.targets)
        features = self.detector.features(batch.images)
        losses = self.detector.losses(batch.images, batch.targets, features)
        return losses | self.teacher.losses(self.detector, batch.images, features)

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(optimizer_groups(self.detector, self.plan))
        if self.pull is not None:
            self.pull.attach(optimizer)
        total_steps = int(self.trainer.estimated_stepping_batches)
        schedule = LambdaLR(
            optimizer, group_factors(self.plan, total_steps, planned_epochs(self.trainer), self.scheduler)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["class_names"] = list(self.detector.class_names)
