"""The file that an Optuna study lives in, and what proposes and ends its trials. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.distributions import distribution_to_json
from optuna.exceptions import OptunaError
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from headstart.config.resolve import resolved_dict
from headstart.config.schema import RunConfig
from headstart.errors import UserError
from headstart.runs.identity import config_hash
from headstart.search.settings import PrunerName, SamplerName, Settings
from headstart.search.space import SearchSpace

SQLITE = "sqlite:///"
_UNREADABLE = (sqlite3.Error, SQLAlchemyError, OptunaError, ValueError, LookupError, TypeError, RuntimeError)
"""What Optuna raises for a file that it has not written so."""
_ASKED = "headstart"
"""The attribute of a study that says what its trials have in common."""


def study_name(settings: Settings, asked: dict[str, Any]) -> str:
    """The same command has the same study; `n_trials` and where it is stored make no other."""
    if settings.study_name is not None:
        if not re.fullmatch(r"[\w.-]+", settings.study_name):
            raise UserError(f"hydra.sweeper.study_name={settings.study_name}: use letters, digits, '-', '_' and '.'.")
        return settings.study_name
    how = [settings.sampler.value, settings.seed, settings.pruner and settings.pruner.value]
    return hashlib.sha256(json.dumps([asked, how], sort_keys=True).encode()).hexdigest()[:8]


def what_is_asked(space: SearchSpace, config: RunConfig) -> dict[str, Any]:
    """What all trials of a study share. `config`: a cell of it."""
    return {"space": space.describe(), "config": config_hash(resolved_dict(config))}


def storage_file(settings: Settings, output_dir: str, name: str) -> Path:
    """Raises `UserError` for any other than a file."""
    if settings.storage is None:
        return Path(output_dir) / ".study" / f"optuna-{name}.db"
    file = settings.storage.removeprefix(SQLITE)
    if not settings.storage.startswith(SQLITE) or not file or ":memory:" in file:
        raise UserError(
            f"hydra.sweeper.storage={settings.storage}: a study is kept in a file of its own, whose lock tells the "
            f"trials of a process that died from those of one that works. Give {SQLITE}<file>."
        )
    return Path(file)


@contextmanager
def locked(file: Path, name: str) -> Iterator[None]:
    """One process at a time; the system lets go of the lock when the process dies, however it dies."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{file}.lock", is_singleton=False)
        lock.acquire(blocking=False)
    except Timeout:
        raise UserError(
            f"The study {name} ({file}) is at work in another process. Wait for it, or start one beside it: "
            "hydra.sweeper.study_name=<another>"
        ) from None
    except OSError as error:
        raise UserError(f"hydra.sweeper.storage: {file} cannot be written ({error}).") from error
    try:
        yield
    finally:
        lock.release()


def open_study(file: Path, name: str, asked: dict[str, Any], mode: str, pruner: BasePruner) -> optuna.Study:
    """The study of this name, new or as it was left. Raises `UserError` where it is another than is asked for."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        if file.is_file():
            _check_schema(file)
        study = optuna.create_study(
            storage=f"{SQLITE}{file}",
            study_name=name,
            direction="maximize" if mode == "max" else "minimize",
            pruner=pruner,
            load_if_exists=True,
        )
        found, trials = study.user_attrs.get(_ASKED), study.trials  # all is read that was written
        if found is None and not trials:
            study.set_user_attr(_ASKED, asked)
        elif found != asked:
            raise UserError(
                f"hydra.sweeper.study_name={name}: the study in {file} searched another space, or with other settings. "
                "Give another name; null makes one from the command."
            )
        if "space" in asked:
            _check_space(trials, asked["space"])
    except UserError:
        raise
    except _UNREADABLE as error:
        raise UserError(f"hydra.sweeper.storage: {file} cannot be used ({error}).") from error
    return study


def _check_schema(file: Path) -> None:
    """ValueError where the database holds statements that would run as it is used: Optuna makes tables and indices."""
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
        made = "select type, name from sqlite_master where type not in ('table', 'index') or sql like '%virtual%'"
        if found := database.execute(made).fetchone():
            raise ValueError(f"it has the {found[0]} {found[1]!r}, which Optuna does not make: it was not used")


def _check_space(trials: Sequence[FrozenTrial], space: dict[str, Any]) -> None:
    """What a trial holds becomes settings of a run: ValueError for values that were never asked for."""
    for trial in trials:
        for key, distribution in trial.distributions.items():
            if json.loads(distribution_to_json(distribution)) != space.get(key):
                raise ValueError(f"trial {trial.number} has values of {key} that are not searched")


def sampler(settings: Settings, *purpose: int | str) -> BaseSampler:
    """A fresh one for each purpose, seeded with it: a study that was killed proposes what it would have.

    With one seed for all, each start of the command would begin the same row of random numbers again.
    """
    seed = zlib.crc32(repr((settings.seed, *purpose)).encode())
    return TPESampler(seed=seed) if settings.sampler is SamplerName.tpe else RandomSampler(seed=seed)


def pruner(settings: Settings, epochs: int | None) -> BasePruner:
    """Of a run with so many epochs; None: as many as it takes."""
    name = settings.pruner
    if name is None:
        return NopPruner()
    epochs = max(0, epochs or 0)  # Lightning's -1 is as many as it takes
    if name is PrunerName.hyperband:
        if not epochs:
            raise UserError("hydra.sweeper.pruner=hyperband divides the epochs: set trainer.max_epochs.")
        return HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3)
    return MedianPruner(n_warmup_steps=max(1, epochs // 3))
