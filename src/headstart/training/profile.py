"""Where the time of a fit goes, by what it is for: on the clock of the process, as Lightning and our own steps pass.

On a GPU the network only is launched where it stands here: what the device still has to do shows where the host next
waits for it, and `device_clock.py` tells how long it took. Where workers read, loading is the time waited for them, and
what they draw is no part of this.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import Profiler
from torch import nn

from headstart.data.dataset import DetectionDataset
from headstart.detectors.interface import Detector
from headstart.training.device_clock import DeviceClock

OTHER = "other"
SECTIONS = (
    ("evaluation", ("val_next", "validation")),
    ("loading", ("train_dataloader_next", "batch_to_device")),
    ("augmentation", ("after_batch_transfer",)),
    ("loss", (".training_step",)),
    ("backward", ("backward",)),
    ("checks and waiting", ("on_before_optimizer_step", "on_train_batch_end")),
    ("optimizer", ("optimizer_step", "zero_grad", "gradient_clipping")),
    ("saving", ("save_checkpoint",)),
    ("logging", ("[Callback]",)),
)
"""Section -> parts of the names that Lightning gives what it does; the first that fits counts."""
ORDER = ("loading", "augmentation", "frozen part", "trained part", "loss", "backward", "checks and waiting")

NO_WORK = ("loading", "saving", "logging", OTHER)
"""Sections in which nothing is launched on a GPU."""


class Sections(Profiler):
    """Of sections within each other, time counts for the innermost."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = {}
        self.device: DeviceClock | None = None
        """None: there is no GPU."""
        self._open: list[str] = []
        self._since = time.perf_counter()

    def start(self, action_name: str) -> None:
        outer = self._open[-1] if self._open else OTHER
        found = (section for section, parts in SECTIONS if any(part in action_name for part in parts))
        self.enter(next(found, outer))

    def stop(self, action_name: str) -> None:
        self.leave()

    def begin(self, device: DeviceClock | None) -> None:
        """What was counted before is no part of the fit."""
        self.seconds.clear()
        self.device = device

    @contextmanager
    def within(self, section: str) -> Iterator[None]:
        self.enter(section)
        try:
            yield
        finally:
            self.leave()

    def enter(self, section: str) -> None:
        self._count()
        self._open.append(section)

    def leave(self) -> None:
        self._count()
        if self._open:
            self._open.pop()

    @property
    def in_loss(self) -> bool:
        """Whether a training step computes now, outside of the network."""
        return bool(self._open) and self._open[-1] in ("loss", "frozen part", "trained part")

    def _count(self) -> None:
        now = time.perf_counter()
        section = self._open[-1] if self._open else OTHER
        self.seconds[section] = self.seconds.get(section, 0.0) + now - self._since
        self._since = now
        if self.device is not None:
            self.device.ended(section)

    def as_dict(self) -> dict[str, Any]:
        """`profile`: section -> seconds, in the order of a step; where there is a GPU its own in `gpu_profile`, and
        `gpu_share`."""
        if self.device is None:
            return {"profile": _in_order(self.seconds)}
        self.device.finish()
        of_gpu = _in_order(self.device.seconds)
        return {"profile": _in_order(self.seconds), "gpu_profile": of_gpu, "gpu_share": gpu_share(of_gpu)}


def gpu_share(of_gpu: Mapping[str, float]) -> float:
    """Of training, evaluation apart: at most the share of time in which the GPU had work. Its gaps between the kernels
    of a section count as work."""
    training = {name: spent for name, spent in of_gpu.items() if name != "evaluation"}
    return sum(spent for name, spent in training.items() if name not in NO_WORK) / max(sum(training.values()), 1e-9)


def _in_order(seconds: dict[str, float]) -> dict[str, float]:
    order = {name: place for place, name in enumerate(ORDER)}
    return dict(sorted(seconds.items(), key=lambda item: order.get(item[0], len(order))))


class SplitNetwork(Callback):
    """Tells the sections when the network's stages compute, and whether they train; and when augmentation is drawn."""

    def __init__(self, sections: Sections) -> None:
        self.sections = sections
        self.hooks: list[Any] = []

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.sections.begin(DeviceClock.of(trainer.strategy.root_device))

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Not before: the moving average copies the module, with all that hangs on it."""
        for module in _stage_modules(pl_module.detector):
            self.hooks.append(module.register_forward_pre_hook(self._enter))
            self.hooks.append(module.register_forward_hook(self._leave, always_call=True))
        dataset = getattr(trainer.train_dataloader, "dataset", None)
        if isinstance(dataset, DetectionDataset):
            dataset.drawing = partial(self.sections.within, "augmentation")

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        for hook in self.hooks:
            hook.remove()

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        if self.sections.in_loss:
            trains = any(parameter.requires_grad for parameter in module.parameters())
            self.sections.enter("trained part" if trains else "frozen part")

    def _leave(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        if self.sections.in_loss:
            self.sections.leave()


def _stage_modules(detector: Detector) -> Iterator[nn.Module]:
    """Those that the prefixes of its stages name, not the parameters among them."""
    modules = dict(detector.named_modules())
    for stage in detector.stages():
        yield from (modules[prefix] for prefix in stage.prefixes if prefix in modules)
