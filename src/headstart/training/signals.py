"""Who hears signals, and who watches the other processes, while Lightning trains: Headstart (runs/ranks.py)."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from lightning.pytorch.callbacks import Callback


class OwnSignals(Callback):
    """Lightning's handler of SIGTERM begins a collective operation wherever the process is, waits for the other
    processes in it, and ends a run only after the batch, with the code of success. And its watcher of the other
    processes ends this one by SIGKILL, before its record can say why."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self.handler = signal.getsignal(signal.SIGTERM)
        for thread in threading.enumerate() if hasattr(os, "waitid") else ():
            if thread.name == "child-process-observer":
                thread._child_processes = []  # type: ignore[attr-defined]

    def _restore(self) -> None:
        """Lightning has set its own since `setup`, and gives this one back at the end."""
        if callable(self.handler) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.handler)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._restore()

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self._restore()

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:
        self._restore()
