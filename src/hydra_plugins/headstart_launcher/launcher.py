"""Puts Headstart's launcher where Hydra looks for it; the work is in `headstart.study.launcher`."""

# No `from __future__ import annotations`: Hydra loads this file in a way that dataclasses then cannot read.
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from headstart.study.cells import CellResult, Watch


@dataclass
class LauncherConfig:
    _target_: str = "hydra_plugins.headstart_launcher.launcher.HeadstartLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="headstart", node=LauncherConfig, provider="headstart")


class HeadstartLauncher(Launcher):
    """Every cell of a study is a process of its own, started as a single run."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """For Hydra's sweepers. Raises `UserError` where a cell failed, after all have run."""
        from headstart.study.launcher import summarise

        results = self.run_batch(job_overrides, initial_job_idx, None)
        summarise(results)
        returns = []
        for result in results:
            job = JobReturn(overrides=list(result.overrides), status=JobStatus.COMPLETED)
            job.return_value = result.value
            returns.append(job)
        return returns

    def run_batch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int, watch: "Watch | None"
    ) -> "list[CellResult]":
        """For sweepers of ours: never raises for a failed cell; `watch` can stop cells that are hopeless."""
        from headstart.study.launcher import run_cells

        return run_cells(self.context, self.config, job_overrides, watch)

    def __repr__(self) -> Any:
        return "HeadstartLauncher()"
