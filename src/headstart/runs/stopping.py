"""A command that is asked to stop: by Ctrl-C, SIGTERM, a terminal that closes, or Slurm before the time is up.

All of them interrupt as Ctrl-C does. Where the main thread waits in a library, Python runs no handler and the signal is
only noticed through `SignalPipe`: what it tells, the interpreter writes at once. Imports nothing heavy.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

INTERRUPTED = 130
"""Exit code, as a shell's after Ctrl-C."""
TOLD = "\nInterrupted: the same command goes on where it stopped."
STOPS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name))
"""Beside SIGINT, which Python makes a KeyboardInterrupt by itself."""


@contextmanager
def stops_interrupt() -> Iterator[None]:
    """Each of the signals raises a KeyboardInterrupt in the main thread, the first time; one that the process was
    started to ignore (`nohup`) stays ignored. No effect in another thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOPS}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is signal.SIG_DFL:
                signal.signal(number, handler)


def _interrupt(number: int, frame: Any) -> None:
    """Not again while the process ends in order: it may be told by several."""
    for other in STOPS:
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt


class SignalPipe:
    """The numbers of the signals that arrive, also while the main thread is where no handler runs."""

    def __enter__(self) -> SignalPipe:
        self.inlet = self.outlet = self.before = -1
        self.asked = False
        if threading.current_thread() is threading.main_thread():
            self.outlet, self.inlet = os.pipe()
            os.set_blocking(self.outlet, False)
            os.set_blocking(self.inlet, False)
            self.before = signal.set_wakeup_fd(self.inlet, warn_on_full_buffer=False)
        return self

    def stop(self) -> bool:
        """Whether a signal that asks to stop has arrived."""
        with suppress(OSError):  # nothing to read
            arrived = os.read(self.outlet, 4096)
            self.asked = self.asked or any(number in (signal.SIGINT, *STOPS) for number in arrived)
        return self.asked

    def wait(self, seconds: float) -> None:
        """Until a signal arrives, at most so long."""
        if self.outlet < 0:
            time.sleep(seconds)
        else:
            select.select([self.outlet], [], [], seconds)

    def __exit__(self, *_: object) -> None:
        if self.outlet >= 0:
            signal.set_wakeup_fd(self.before)
            os.close(self.inlet)
            os.close(self.outlet)
            self.outlet = -1


if hasattr(os, "register_at_fork"):
    # What a forked process is told is not told to this one.
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
