"""A training step's network and losses, as they are written or compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from headstart.config.schema import Compile
from headstart.data.batch import Batch
from headstart.detectors.interface import Detector, Features
from headstart.errors import UserError

LossesOf = Callable[[Detector, Batch, Features | None], dict[str, Tensor]]
"""`Detector.losses`."""
OPTIONS: dict[Compile, dict[str, Any]] = {
    Compile.inductor: {"fallback_random": True},  # what is drawn is what the plain step draws
    Compile.graphs: {"fallback_random": True, "triton.cudagraphs": True},
}
MOST_LETTERS = 300
"""Of torch's reason, which may have pages."""
MOST = 64
"""Of the compiled versions, one for each canvas of each phase."""


def as_written(detector: Detector, batch: Batch, features: Features | None) -> dict[str, Tensor]:
    return detector.losses(batch, features)


def losses_by(kind: Compile, batch_size: int) -> LossesOf:
    """A batch of another size, as the last of an epoch may be, is computed as it is written: it would be compiled for
    its own sake. The weights are the detector's own; nothing of its names or its state is another."""
    if kind not in OPTIONS:
        return as_written
    from torch._dynamo import config as dynamo  # seconds, which other runs do not pay
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    dynamo.recompile_limit = MOST
    dynamo.optimize_ddp = False  # it would compile a part for each bucket of gradients
    compiled = torch.compile(as_written, fullgraph=True, dynamic=False, options=OPTIONS[kind])

    def losses(detector: Detector, batch: Batch, features: Features | None) -> dict[str, Tensor]:
        if len(batch) != batch_size:
            return as_written(detector, batch, features)
        torch.compiler.cudagraph_mark_step_begin()
        try:
            return compiled(detector, batch, features)
        except (TorchDynamoException, InductorError) as error:
            reason = " ".join(str(error).split())[:MOST_LETTERS]
            raise UserError(
                f"training.compile={kind.value} cannot be obeyed with this network and these settings. Use "
                f"training.compile=none. torch says: {reason}"
            ) from error

    return losses
