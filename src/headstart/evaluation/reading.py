"""Numbers on their way from the device to the host."""

from __future__ import annotations

import torch
from torch import Tensor


class Reading:
    """A copy of what a tensor holds now. The host waits for it only where it asks for it."""

    def __init__(self, values: Tensor) -> None:
        values = values.detach().float()
        self.event = torch.cuda.Event() if values.is_cuda else None
        self.values = values
        if self.event is not None:
            self.values = torch.empty_like(values, device="cpu", pin_memory=True).copy_(values, non_blocking=True)
            self.event.record()

    def is_there(self) -> bool:
        return self.event is None or self.event.query()

    def arrived(self) -> Tensor:
        """On the host, float32."""
        if self.event is not None:
            self.event.synchronize()
        return self.values

    def get(self) -> list[float]:
        return self.arrived().reshape(-1).tolist()
