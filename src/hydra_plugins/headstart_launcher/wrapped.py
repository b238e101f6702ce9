"""Puts Headstart between Hydra and other launchers; the work is in `headstart.study.elsewhere`."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

from hydra_plugins.headstart_launcher.launcher import HeadstartLauncher, LauncherConfig

if TYPE_CHECKING:
    from headstart.study.cells import CellResult, Watch


class WrapLauncher(Callback):
    """Before a study begins: whatever launcher was chosen, but our own, is wrapped into `WrappedLauncher`."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        chosen = config.hydra.launcher
        if chosen._target_ == LauncherConfig._target_:
            return
        wrapped = {"_target_": f"{__name__}.{WrappedLauncher.__name__}", "_recursive_": False, "launcher": chosen}
        _set_launcher(config, wrapped)


class WrappedLauncher(HeadstartLauncher):
    """Every cell is a job of another launcher, which starts it as a single run."""

    def __init__(self, launcher: DictConfig) -> None:
        self.launcher = launcher

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Raises `UserError` for what the launcher cannot do, or would ignore."""
        from headstart.study.elsewhere import check_launcher

        self.context = hydra_context
        self.config = copy.deepcopy(config)
        _set_launcher(self.config, self.launcher)
        check_launcher(self.config)

    def run_batch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int, watch: "Watch | None"
    ) -> "list[CellResult]":
        """As `HeadstartLauncher.run_batch`."""
        from headstart.study.elsewhere import run_elsewhere

        return run_elsewhere(self.context, self.config, job_overrides, watch)

    def __repr__(self) -> Any:
        return "WrappedLauncher()"


def _set_launcher(config: DictConfig, launcher: Any) -> None:
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.launcher = launcher
