"""Puts Headstart's launcher where Hydra looks for it; the work is in `headstart.study.launcher`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


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
        from headstart.study.launcher import launch

        return launch(self.context, self.config, job_overrides, initial_job_idx)

    def __repr__(self) -> Any:
        return "HeadstartLauncher()"
