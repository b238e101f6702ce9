"""Puts Headstart's Optuna sweeper where Hydra looks for it; the work is in `headstart.search.sweep`."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Optional, cast

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from headstart.errors import UserError
from headstart.search.settings import PrunerName, SamplerName, Settings


@dataclass
class OptunaConfig(Settings):
    _target_: str = "hydra_plugins.headstart_optuna.sweeper.OptunaSweeper"


ConfigStore.instance().store(group="hydra/sweeper", name="optuna", node=OptunaConfig, provider="headstart")


class OptunaSweeper(Sweeper):
    """Optuna proposes the cells of a study from what the earlier ones found."""

    def __init__(
        self,
        n_trials: int,
        storage: Optional[str],
        study_name: Optional[str],
        sampler: SamplerName,
        seed: int,
        pruner: Optional[PrunerName],
    ) -> None:
        self.settings = Settings(n_trials, storage, study_name, sampler, seed, pruner)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        if find_spec("optuna") is None:
            raise UserError("hydra/sweeper=optuna needs optuna: pip install 'headstart[optuna]'")
        self.context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from headstart.search.sweep import sweep

        assert self.config is not None
        assert self.launcher is not None
        run_batch = cast(Any, self.launcher).run_batch  # every launcher is Headstart's, or wrapped into one
        sweep(self.settings, self.context, self.config, run_batch, arguments)
