"""WiSE-FT: weights between the source's and the fine-tuned ones (Wortsman et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from headstart.detectors.interface import Detector
from headstart.transfer.types import LoadReport


def source_copy(detector: Detector, report: LoadReport) -> dict[str, Tensor]:
    """What `interpolated` needs of the source, on the CPU: to be taken after `apply_source`, before training."""
    filled = {*report.loaded, *report.partial}
    return {
        name: tensor.detach().to("cpu", copy=True)
        for name, tensor in detector.state_dict().items()
        if name in filled and tensor.is_floating_point()
    }


def interpolated(
    source: Mapping[str, Tensor], tuned: Mapping[str, Tensor], report: LoadReport, alpha: float
) -> dict[str, Tensor]:
    """A new state dict: `(1 - alpha) * source + alpha * tuned` for what the source filled, `tuned` for the rest.

    `alpha` is from 0 (the source's values, exactly) to 1 (the tuned ones, exactly). Of the tensors in
    `report.partial` the rows in `report.kept_rows` are mixed; new rows and integer buffers are the tuned ones.
    """
    filled, mixed = {*report.loaded, *report.partial}, {}
    for name, value in tuned.items():
        if name not in filled or not value.is_floating_point():
            mixed[name] = value.detach().clone()
        elif name in report.partial:
            mixed[name] = _mix_rows(source[name], value, report.kept_rows[name], alpha)
        else:
            mixed[name] = _mix(source[name].to(value), value, alpha)
    return mixed


def _mix(source: Tensor, tuned: Tensor, alpha: float) -> Tensor:
    if alpha in (0, 1):  # arithmetic would lose the sign of a zero
        return (tuned if alpha else source).detach().clone()
    return torch.lerp(source, tuned.detach(), alpha)


def _mix_rows(source: Tensor, tuned: Tensor, rows: tuple[int, ...], alpha: float) -> Tensor:
    index = list(rows)
    mixed = tuned.detach().clone()
    mixed[index] = _mix(source.to(tuned)[index], tuned[index], alpha)
    return mixed
