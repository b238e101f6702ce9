"""Threads and GPUs of the machine, divided among the runs of a study. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from headstart.study.usage import cores, driver_says


def shares(jobs: int) -> list[list[str]]:
    """The GPUs of each place in the study, by number or name: equal parts, or one that several share; empty: none."""
    gpus = visible_gpus()
    if not gpus:
        return [[] for _ in range(jobs)]
    if jobs >= len(gpus):
        return [[gpus[place % len(gpus)]] for place in range(jobs)]
    return [gpus[place::jobs] for place in range(jobs)]


def variables(jobs: int, gpus: list[str], processes: Any) -> Mapping[str, str]:
    """What the run in one of `jobs` places finds in its environment; `processes` are those it trains with.

    Alone it has the whole machine. What the user set stays.
    """
    if jobs == 1:
        return {}
    ranks = processes if isinstance(processes, int) and not gpus else 1
    threads = max(1, cores() // jobs // max(ranks, 1))
    found = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(threads)}
    return found | ({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {})


def visible_gpus() -> list[str]:
    """As CUDA_VISIBLE_DEVICES names them, else all that the driver knows."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [word.strip() for word in visible.split(",") if word.strip() and word.strip() != "-1"]
    return [number for (number,) in driver_says("index")]
