"""Cells of a study as forks of a parent that has imported everything once. Imports no torch."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from headstart.runs.began import STARTED, STUDY
from headstart.runs.parent import GRACE_SECONDS, PARENT
from headstart.study.forking import LOOK_SECONDS, Start

PROGRAM = ("-m", "headstart.study.forking")
OWN = (STUDY, STARTED, PARENT)
"""Of a study, or of a process: what is imported does not depend on them."""
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
"""Of numpy, which else starts its threads when it is imported; a process with threads must not fork."""


class Forked:
    """As the `subprocess.Popen` of a cell."""

    def __init__(self, parent: Warm, pid: int) -> None:
        self.parent, self.pid = parent, pid

    def poll(self) -> int | None:
        """The exit code; that of SIGTERM where the parent is lost, whose cells end themselves (`runs/parent.py`)."""
        self.parent.listen()
        return self.parent.codes.get(self.pid, None if self.parent.is_there else -signal.SIGTERM)

    def terminate(self) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def wait(self, timeout: float | None = None) -> int:
        """Raises `subprocess.TimeoutExpired`."""
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("headstart train", timeout or 0.0)
            time.sleep(LOOK_SECONDS)
        return code


class Warm:
    """The parent, as a process. It ends with the one that started it, and its cells end with it."""

    def __init__(self, environment: Mapping[str, str], program: Sequence[str] = PROGRAM) -> None:
        self.codes: dict[int, int] = {}
        self.is_there = True
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, *program, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # what it cannot import, a cell that is started anew says in its log
                env={**environment, **ONE_THREAD},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self.connection = Connection(ours.detach())
        atexit.register(self.end)

    def start(self, module: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> Forked | None:
        """A process that runs `python -m <module> <arguments>`; None where the parent is lost."""
        request = Start(module, tuple(arguments), log.absolute(), dict(environment), Path.cwd())
        try:
            self.connection.send(request)
        except OSError:
            self.is_there = False
        while self.is_there:
            if (pid := self._read()) is not None:
                return Forked(self, pid)
        return None

    def end(self) -> None:
        """Its cells end with it."""
        atexit.unregister(self.end)
        self.is_there = False
        self.connection.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE_SECONDS)

    def listen(self) -> None:
        """Takes note of the cells that have ended."""
        while self.is_there and self.connection.poll():
            self._read()

    def _read(self) -> int | None:
        """The process that was started, if that is what the parent says next."""
        try:
            said = self.connection.recv()
        except (EOFError, OSError):
            self.is_there = False
            return None
        if isinstance(said, int):
            return said
        pid, code = said
        self.codes[pid] = code
        return None


def start_cell(words: Sequence[str], log: Path, environment: Mapping[str, str]) -> Forked | None:
    """The cell as a fork; None where it is to be a process of its own: another program, no Linux (elsewhere libraries
    that are loaded do not bear a fork), or a parent that is lost."""
    if list(words[:3]) != [sys.executable, "-m", "headstart"] or sys.platform != "linux":
        return None
    same = tuple(sorted((name, text) for name, text in os.environ.items() if name not in OWN))
    if same not in _PARENTS or not _PARENTS[same].is_there:
        _PARENTS[same] = Warm(os.environ)
    return _PARENTS[same].start("headstart", words[3:], log, environment)


_PARENTS: dict[tuple[tuple[str, str], ...], Warm] = {}
"""By the environment that they were started with: what is read from it on import holds for it alone."""
