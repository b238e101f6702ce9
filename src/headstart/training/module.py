"""The LightningModule: glue between detector, plan, metric and optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from headstart.config.schema import SchedulerConfig
from headstart.data.batch import Batch
from headstart.data.sampling import stable_seed
from headstart.detectors.interface import Detector, Features
from headstart.evaluation.coco_map import CocoMeanAveragePrecision
from headstart.evaluation.module import EvaluationModule
from headstart.evaluation.reading import Reading
from headstart.features.key import Arithmetic
from headstart.features.store import Store
from headstart.parts.part import Part
from headstart.training.distributed import rewrap
from headstart.training.finite import FiniteWatch
from headstart.training.running import RunningLosses
from headstart.training.schedule import group_factors, planned_epochs
from headstart.transfer.freezing import apply_phase, set_train_mode
from headstart.transfer.param_groups import optimizer_groups
from headstart.transfer.types import TransferPlan


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
        parts: Sequence[Part] = (),
        name_of: Callable[[int], str] = str,
        store: Store | None = None,
    ) -> None:
        """`name_of` a training picture by its `Target.image_id`."""
        super().__init__(detector, metric)
        self.plan = plan
        self.phase = plan.phases[0]
        self.parts = parts
        self.make_optimizer = make_optimizer
        self.scheduler = scheduler
        self.seed = seed
        self.name_of = name_of
        self.store = store
        self.watch, self.running = FiniteWatch(), RunningLosses()
        self.validated = False  # whether this epoch was

    def setup(self, stage: str) -> None:
        # Lightning fills the model from a checkpoint first: float64 would go through float32, and no resume be exact.
        self.trainer.precision_plugin.convert_module(self)
        self.watch.process, self.watch.processes = self.global_rank, self.trainer.world_size

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
        self._begin_store()

    def on_validation_epoch_start(self) -> None:
        if self.trainer.sanity_checking:  # before any epoch
            self._begin_store()

    def _begin_store(self) -> None:
        if (store := self.store) is not None:
            store.begin(self.plan.phase_at(self.current_epoch).start_epoch, self.detector, Arithmetic.of(self.trainer))

    def known_features(self, split: str, batch: Batch) -> Features | None:
        return self.store.features(self.detector, split, batch) if self.store is not None else None

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        self.validated = True

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        torch.manual_seed(stable_seed(self.seed, self.current_epoch, batch_idx, self.global_rank))  # for a resume

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        # Lightning calls it after the backward pass, and leaves the optimizer alone where it raises.
        scales = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
        rates = [group["lr"] for group in optimizer.param_groups]
        self.watch.before_update(None if scales else gradients, self.trainer.global_step + 1, rates)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self.running.log_to(self.trainer)
        # Lightning validates after the last batch of an epoch, and where it is told to stop: not after `max_steps`.
        self.trainer.should_stop = self.trainer.should_stop or self.trainer.global_step == self.trainer.max_steps
        if self.trainer.is_last_batch or self.trainer.should_stop:
            self.watch.before_keeping(self.detector.parameters(), self.current_epoch + 1)
            self.running.log_to(self.trainer)
            means, images = self.running.take()
            named = {f"train/{name}": value for name, value in means.items()}
            named["train/loss"] = torch.stack(list(means.values())).sum()
            self.log_dict(named, on_epoch=True, on_step=False, batch_size=images, sync_dist=True)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        losses = self._losses(batch)
        names, values = tuple(losses), torch.stack(list(losses.values()))
        where, reading = f"epoch {self.current_epoch + 1}, batch {batch_idx + 1}", Reading(values)
        self.watch.saw(where, lambda: [self.name_of(frame.image_id) for frame in batch.frames], names, reading)
        self.running.add(self.trainer.global_step, names, values, reading, len(batch))
        return values.sum()

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        features = self.known_features("train", batch)
        if features is None and any(part.needs_features for part in self.parts):
            features = self.detector.features(batch)
        losses = self.detector.losses(batch, features)
        for part in self.parts:
            losses |= part.losses(self.detector, batch, features)
        return losses

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(optimizer_groups(self.detector, self.plan))
        for part in self.parts:
            part.attach(optimizer)
        total_steps = int(self.trainer.estimated_stepping_batches)
        factors = group_factors(self.plan, total_steps, planned_epochs(self.trainer), self.scheduler)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factors), "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["class_names"] = list(self.detector.class_names)
