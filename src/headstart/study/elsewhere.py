"""A study whose cells are jobs of another launcher: what is refused, and how a job is handed over."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from headstart.errors import UserError
from headstart.study.cells import CellResult, Watch
from headstart.study.foreign import CellTask, ForeignPool
from headstart.study.launcher import run_cells
from headstart.study.places import AUTO, Places
from headstart.study.pool import Job
from headstart.study.resources import visible_gpus

RAY_OBJECT_STORE_BYTES = 78_643_200
"""The least that Ray takes, as in its launcher for Hydra: nothing large goes through it."""


def run_elsewhere(
    context: HydraContext, config: DictConfig, job_overrides: Sequence[Sequence[str]], watch: Watch | None
) -> list[CellResult]:
    """As `run_cells`; each cell is a job of `config.hydra.launcher`, `study.jobs` of them at a time."""

    def prepare(job: Job, task: CellTask) -> Callable[[], Mapping[str, Any]]:
        """A launcher for each job: what becomes of one that is lost then costs no other cell."""
        launcher = Plugins.instance().instantiate_launcher(context, task, config)
        return lambda: launcher.launch([job.overrides], initial_job_idx=0)[0].return_value

    def pool(jobs: Sequence[Job], places: Places, study: str, tell: Callable[[Job | None], None]) -> ForeignPool:
        return ForeignPool(jobs, places, study, tell, prepare, share_machine=_kind(config) != "SlurmLauncher")

    if _kind(config) == "RayLauncher":
        _start_ray(config.hydra.launcher.ray.init)
    return run_cells(context, config, job_overrides, watch, pool)


def check_launcher(config: DictConfig) -> None:
    """Raises `UserError` for launchers that are not offered, and for settings of one that would have no effect."""
    if problems := list(_problems(config)):
        raise UserError("\n".join(problems))


def _kind(config: DictConfig) -> str:
    """The class; the name may be that of a file of the user's."""
    return config.hydra.launcher._target_.rpartition(".")[2]


def _problems(config: DictConfig) -> Iterator[str]:
    kind, settings = _kind(config), config.hydra.launcher
    name = f"hydra/launcher={config.hydra.runtime.choices['hydra/launcher']}"
    if kind in ("BasicLauncher", "JoblibLauncher"):
        yield f"{name} runs cells on this machine alone, as Headstart's launcher does better: {_ON_ONE_MACHINE}"
    if kind == "RayAWSLauncher":
        yield f"{name} starts machines that do not see this disk. {_START_RAY}"
    for key in ("tasks_per_node", "nodes") if kind in ("LocalLauncher", "SlurmLauncher") else ():
        if settings[key] != 1:
            yield (
                f"hydra.launcher.{key}={settings[key]}: a cell is one task on one node, which starts the processes "
                f"it trains with itself. Use trainer.devices=N, and leave hydra.launcher.{key} at 1."
            )
    if config.study.jobs == AUTO:
        yield f"study.jobs=auto looks at the cells of this machine, and {name} has them on others: use study.jobs=N."
    given = config.hydra.overrides.hydra
    if kind == "SlurmLauncher" and any("hydra.launcher.array_parallelism" in word for word in given):
        yield (
            f"hydra.launcher.array_parallelism={settings.array_parallelism} has no effect: cells are submitted one "
            f"by one, so that none is lost with another. Use study.jobs={settings.array_parallelism}."
        )
    if kind == "LocalLauncher" and settings.gpus_per_node is None and visible_gpus():
        yield (
            f"{name} hides the GPUs from its jobs. Set hydra.launcher.gpus_per_node=N, 0 for none; or leave the "
            "launcher out: Headstart's own divides the GPUs among the cells."
        )


_ON_ONE_MACHINE = "leave it out, and set study.jobs=N to run N cells at a time."
_START_RAY = (
    "Start the cluster yourself, with a disk that all see: hydra/launcher=ray hydra.launcher.ray.init.address=…"
)


def _start_ray(init: DictConfig) -> None:
    """Before the first job: two that start it at once disturb each other. Nothing is sent to Ray's makers."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray  # type: ignore[reportMissingImports]

    settings: Any = OmegaConf.to_container(init, resolve=True)
    if settings.get("address") is None and "RAY_ADDRESS" not in os.environ:
        settings = {"include_dashboard": False, "object_store_memory": RAY_OBJECT_STORE_BYTES} | settings
    if not ray.is_initialized():
        ray.init(**{"logging_level": "warning"} | settings)
