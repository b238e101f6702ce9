"""What an Optuna study found, for the user. Imports no torch."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence

from optuna import Study
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from rich.table import Table

from headstart.errors import UserError
from headstart.say import say
from headstart.search.space import SearchSpace

SHOWN = 5


def summarise(
    study: Study, trials: Sequence[FrozenTrial], space: SearchSpace, monitor: str, config_dirs: Sequence[str]
) -> None:
    """Raises `UserError` where a trial failed, so that the exit code says so."""
    highest_first = study.direction is StudyDirection.MAXIMIZE
    finished = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    best = sorted(finished, key=lambda trial: trial.value or 0.0, reverse=highest_first)
    counts = Counter(_outcome(trial) for trial in trials)
    say(f"Study {study.study_name}: {len(trials)} trials, {', '.join(f'{n} {what}' for what, n in counts.items())}")
    for trial in trials:
        if _outcome(trial) in ("failed", "not applicable"):
            say(f"  trial {trial.number}, {_outcome(trial)}: {trial.user_attrs['reason']}")
    if best:
        say(_table(best[:SHOWN], space, monitor))
        say(f"The best again: {_command(best[0], space, config_dirs)}")
    if failed := counts["failed"]:
        raise UserError(f"{failed} of {len(trials)} trials failed; the same command runs those again.")


def _outcome(trial: FrozenTrial) -> str:
    """As its cell's status; `pruned` for one that was stopped."""
    status = trial.user_attrs["status"]
    return "pruned" if status == "stopped" else status


def _table(trials: Sequence[FrozenTrial], space: SearchSpace, monitor: str) -> Table:
    table = Table("trial", monitor, *space.distributions)
    for trial in trials:
        settings = (word.partition("=")[2] for word in space.swept(trial.params))
        table.add_row(str(trial.number), f"{trial.value:.4f}", *settings)
    return table


def _command(trial: FrozenTrial, space: SearchSpace, config_dirs: Sequence[str]) -> str:
    """Without what only a study has a use for."""
    words = [word for word in space.overrides(trial.params) if not word.startswith("study.")]
    folders = [word for folder in config_dirs for word in ("--config-dir", folder)]
    return shlex.join(["headstart", "train", *folders, *words])
