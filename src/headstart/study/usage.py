"""What the machine has free, and what a cell of a study takes of it. Imports no torch."""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

MIB = 1024**2


@dataclass(frozen=True)
class Gpu:
    """At a moment."""

    used: int
    """Bytes, of all programs …"""
    total: int
    """… and of the card."""
    busy: float
    """0..1: the share of the last moment in which it computed."""


@dataclass(frozen=True)
class Machine:
    """What it has, and what of that is free."""

    cores: int
    memory: float
    """Bytes that programs can still take."""
    gpus: Mapping[str, Gpu]
    """Those that were asked for and can be asked, by their name or number."""


def machine(gpus: list[str]) -> Machine:
    free = min(psutil.virtual_memory().available, *_left_in_groups())
    return Machine(cores(), free, gpu_use(gpus))


def _left_in_groups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[float]:
    """Bytes that the groups of this process may still take, where a container or a scheduler limits them (Linux's
    control groups, version 2); infinity where none does."""
    left = [math.inf]
    with suppress(OSError, ValueError, StopIteration):
        group = next(line[3:] for line in own.read_text().splitlines() if line.startswith("0::"))
        folder = root / group.lstrip("/")
        for each in (folder, *folder.parents):
            if (limit := each / "memory.max").exists() and (text := limit.read_text().strip()) != "max":
                stat = dict(line.split() for line in (each / "memory.stat").read_text().splitlines())
                left.append(int(text) - int(stat["anon"]))
    return left


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def taken_by(pid: int) -> tuple[int, float]:
    """Bytes that a process and its descendants share with no other, and CPU seconds since they began; zeros where it
    has ended."""
    memory, seconds = 0, 0.0
    for process in _with_descendants(pid):
        with suppress(psutil.Error):
            memory += process.memory_full_info().uss
            times = process.cpu_times()
            seconds += times.user + times.system
    return memory, seconds


def _with_descendants(pid: int) -> Iterator[psutil.Process]:
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        yield process
        yield from process.children(recursive=True)


def driver_says(columns: str) -> list[list[str]]:
    """A row of nvidia-smi's for each GPU; none where there is no driver."""
    query = ["nvidia-smi", f"--query-gpu={columns}", "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [[word.strip() for word in line.split(",")] for line in found.splitlines()]


def gpu_use(names: list[str]) -> dict[str, Gpu]:
    """Of those of `names` (a number, or the beginning of a UUID) of which the driver says it; of slices it does not."""
    if not names:
        return {}
    found = {}
    for row in driver_says("index,uuid,memory.used,memory.total,utilization.gpu"):
        with suppress(ValueError):  # "[N/A]", or a word of its own
            number, uuid, *numbers = row
            used, total, busy = (float(word) for word in numbers)
            own = (name for name in names if name == number or uuid.startswith(name))
            found |= {name: Gpu(int(used * MIB), int(total * MIB), busy / 100) for name in own}
    return found
