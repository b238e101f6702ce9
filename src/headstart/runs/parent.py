"""A process that a study started does not outlive the study. Imports nothing heavy."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping

PARENT = "HEADSTART_PARENT"
TRIALS = "HEADSTART_TRIALS"
"""Environment variable of a search's runs: how many trials it has."""
GRACE_SECONDS = 30
"""From SIGTERM to SIGKILL: time to end a batch and write the record."""


def of_this_process() -> Mapping[str, str]:
    """The environment variable by which a child knows whom to follow."""
    return {PARENT: str(os.getpid())}


def follow_parent() -> None:
    """Ends this process soon after the one that started it, even if that one was killed; the run can be gone on with.

    Nothing happens in a process that no study started, nor in those that such a one starts.
    """
    if os.environ.get(PARENT) == str(os.getppid()):
        threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(143)
