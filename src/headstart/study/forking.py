"""The warm parent of a study's cells: it imports what every training needs, runs nothing, and forks.

`python -m headstart.study.forking <file descriptor>`. A fork is as a process that was started with the same words and
environment: a session, a log, threads and devices of its own; what happens in it stays in it.
"""

from __future__ import annotations

import gc
import os
import runpy
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

from headstart.runs.parent import PARENT

LOADED = ("headstart.libraries", "headstart.run", "headstart.train")
"""What a cell would import, whatever its settings; the first before the others."""
LOOK_SECONDS = 0.1
"""How often it looks whether a cell has ended."""


@dataclass(frozen=True)
class Start:
    """A cell to begin."""

    module: str
    arguments: Sequence[str]
    log: Path
    environment: Mapping[str, str]
    directory: Path


def load() -> None:
    """What takes seconds, and starts no thread and asks no GPU."""
    for module in LOADED:
        import_module(module)

    gc.collect()
    gc.freeze()  # pages that no collection touches stay shared


def serve(connection: Connection) -> Start | None:
    """Gives the cell in each of its processes; None in the parent, when the study has ended.

    It says the number of each process that it has started, and (number, exit code) of each that has ended.
    """
    while True:
        if connection.poll(LOOK_SECONDS):
            try:
                start = connection.recv()
            except (EOFError, OSError):
                return None
            begun, begins = os.pipe()
            pid = os.fork()
            if pid == 0:
                connection.close()
                os.close(begun)
                _become(start)
                os.close(begins)
                return start
            os.close(begins)
            os.read(begun, 1)  # until it has its session: only then can its group be told anything
            os.close(begun)
            connection.send(pid)
        for ended in _ended():
            connection.send(ended)


def _ended() -> Iterator[tuple[int, int]]:
    """(process, exit code as of `subprocess.Popen`: negative for a signal)"""
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            yield pid, os.waitstatus_to_exitcode(status)
    except ChildProcessError:  # there is none
        return


def _become(start: Start) -> None:
    """What `subprocess.Popen` would have given it, and torch would have read when it was loaded."""
    os.setsid()
    os.chdir(start.directory)
    os.environ.clear()
    os.environ.update({**start.environment, PARENT: str(os.getppid())})
    nothing, log = os.open(os.devnull, os.O_RDONLY), os.open(start.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for place, file in enumerate((nothing, log, log)):
        os.dup2(file, place)
    os.close(nothing)
    os.close(log)
    sys.argv = [start.module, *start.arguments]
    if threads := os.environ.get("OMP_NUM_THREADS"):
        import torch

        torch.set_num_threads(int(threads))


def main() -> None:
    connection = Connection(int(sys.argv[1]))
    load()
    if start := serve(connection):
        runpy.run_module(start.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
