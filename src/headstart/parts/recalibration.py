"""AdaBN: statistics of BatchNorm layers for the target's images (Li et al., ICLR workshop 2017)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from headstart.config.schema import NormPolicy, RunConfig
from headstart.data.batch import Batch
from headstart.detectors.interface import Detector
from headstart.errors import UserError
from headstart.parts.part import Part, Work
from headstart.say import say
from headstart.transfer.norm import norm_layers, statistics
from headstart.transfer.types import TransferPlan


def recalibrate(detector: Detector, batches: Iterable[Batch], layers: Collection[str]) -> int:
    """Estimates mean and variance of the BatchNorm layers named `layers` anew; gives the number of images seen.

    Both are averages over all `batches`, each with the same weight: the variance is that within a batch, as in
    training. Parameters, other buffers and modes stay as they are. A batch needs more than one value per channel, as
    in training: with SSDlite's maps of one cell, two images. Raises `UserError` without a layer or an image.
    """
    if not layers:
        raise UserError(
            "strategy.norm=recalibrate has no effect: this detector has no BatchNorm layer whose statistics could be "
            "estimated. Use strategy.norm=affine_only, frozen or train"
        )
    device = next(detector.parameters()).device
    images = 0
    with _estimating([detector.get_submodule(name) for name in layers], detector), torch.no_grad():
        for batch in batches:
            detector.detect(batch.to(device))
            images += len(batch)
    if not images:
        raise UserError("strategy.norm=recalibrate needs training images: the data set gives none")
    return images


@contextmanager
def _estimating(layers: list[nn.Module], detector: Detector) -> Iterator[None]:
    """The layers forget what they knew and average from now on; at the end all modes are as they were."""
    modes = {module: module.training for module in detector.modules()}
    momenta = {layer: layer.momentum for layer in layers}
    detector.eval()
    try:
        for layer in layers:
            assert isinstance(layer, nn.modules.batchnorm._BatchNorm), f"{layer} has no running statistics"
            layer.reset_running_stats()
            layer.momentum = None  # cumulative average
            layer.train()
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for layer, momentum in momenta.items():
            layer.momentum = momentum


# --------------------------------------------------------------------------------- the part of a strategy


def still_layers(detector: Detector, plan: TransferPlan) -> list[str]:
    """BatchNorm layers whose statistics training does not move."""
    return _layers(detector, lambda moments: moments <= plan.frozen)


def moving_layers(detector: Detector, plan: TransferPlan) -> list[str]:
    """Those whose statistics it moves."""
    return _layers(detector, lambda moments: not moments <= plan.frozen)


def _layers(detector: Detector, wanted: Callable[[set[str]], bool]) -> list[str]:
    found = {name: statistics(name, layer) for name, layer in norm_layers(detector).items()}
    return [name for name, moments in found.items() if moments and wanted(moments)]


class RecalibrationPart(Part):
    """Statistics that training will not move are made the target's (AdaBN)."""

    name = "recalibration"

    def before_fit(self, work: Work) -> None:
        layers = still_layers(work.detector, work.plan)
        images = recalibrate(work.detector.to(work.device), work.training_batches(), layers)
        say(f"Statistics of {len(layers)} BatchNorm layers estimated on {images} training images")


def recalibration(config: RunConfig) -> Part | None:
    return RecalibrationPart() if config.strategy.norm is NormPolicy.recalibrate else None
