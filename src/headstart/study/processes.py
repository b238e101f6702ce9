"""A run as a process whose output goes into a file. Imports no torch."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any


def start_logged(
    words: Sequence[str], log: Path, environment: Mapping[str, str], directory: Path | None = None
) -> subprocess.Popen[bytes]:
    """A process whose output goes to the end of `log`. Ctrl-C does not reach it: the study ends its runs in order."""
    with log.open("ab") as out:
        return subprocess.Popen(
            words,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def kill_group(process: Any) -> None:
    """With the processes that it trains with, and those that read its images."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
