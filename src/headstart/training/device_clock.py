"""How long a GPU takes for what is launched in the sections of a fit, by events in its stream; no step waits for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import torch


class DeviceClock:
    """Seconds on the device from when it was done with all before a section to when it is done with the section.

    A device that is behind works all of that time. One that waits for the host waits in it, too: between the kernels of
    a section, and wherever nothing is launched. `make_event`: as `torch.cuda.Event`.
    """

    def __init__(self, make_event: Callable[[], Any]) -> None:
        self.seconds: dict[str, float] = {}
        self._make_event = make_event
        self._ends: deque[tuple[str, Any]] = deque()
        self._free: list[Any] = []

    @classmethod
    def of(cls, device: torch.device) -> DeviceClock | None:
        """None for what has no such events."""
        return cls(partial(torch.cuda.Event, enable_timing=True)) if device.type == "cuda" else None

    def ended(self, section: str) -> None:
        """On the host; takes note of what has come to its end on the device meanwhile."""
        event = self._free.pop() if self._free else self._make_event()
        event.record()
        self._ends.append((section, event))
        self._take()

    def finish(self) -> None:
        """Waits, after the last step."""
        if self._ends:
            self._ends[-1][1].synchronize()
            self._take()

    def _take(self) -> None:
        while len(self._ends) > 1 and self._ends[1][1].query():
            _, before = self._ends.popleft()
            section, event = self._ends[0]
            self.seconds[section] = self.seconds.get(section, 0.0) + before.elapsed_time(event) / 1000
            self._free.append(before)
