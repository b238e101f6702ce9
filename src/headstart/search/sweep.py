"""`hydra/sweeper=optuna`: Optuna proposes cells, the launcher runs them. Imports no torch."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.types import HydraContext
from omegaconf import DictConfig
from optuna import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from headstart.errors import UserError
from headstart.runs.from_data import know, with_numbers
from headstart.runs.parent import TRIALS
from headstart.say import say
from headstart.search import trials as optuna_study
from headstart.search.settings import SamplerName, Settings
from headstart.search.space import SearchSpace, search_space
from headstart.search.summary import summarise
from headstart.study.cells import CellResult, Watch
from headstart.study.command import command_of
from headstart.study.launcher import compose_cell
from headstart.study.places import AUTO

REPEATS_AT_MOST = 30
"""Proposals in a row of what is known not to run, after which there is taken to be nothing else."""

RunBatch = Callable[[Sequence[Sequence[str]], int, Watch], Sequence[CellResult]]


def sweep(
    settings: Settings, context: HydraContext, config: DictConfig, run_batch: RunBatch, arguments: Sequence[str]
) -> None:
    """The study from where it stands to `n_trials`. Raises `UserError` before the first trial for a space that cannot
    be searched, and at the end where a trial failed."""
    if settings.n_trials < 1:
        raise UserError(f"hydra.sweeper.n_trials={settings.n_trials}: a study has at least one trial.")
    space = search_space(arguments, context.config_loader)
    points = [space.overrides(point) for point in space.probes()]
    cell, *_ = [compose_cell(context, config, overrides) for overrides in points]
    cell = with_numbers(cell, lambda found: compose_cell(context, config, [*points[0], *found]), know).config
    if cell.rerun:
        raise UserError(
            "rerun=true: a study goes on with the trials it has. Leave it out, or begin a new study: "
            "hydra.sweeper.study_name=<another>"
        )
    if cell.study.jobs == AUTO:
        raise UserError("study.jobs=auto: a search asks for study.jobs cells at a time, always. Use study.jobs=N.")
    asked = optuna_study.what_is_asked(space, cell)
    name = optuna_study.study_name(settings, asked)
    file = optuna_study.storage_file(settings, cell.output_dir, name)
    pruner = optuna_study.pruner(settings, cell.trainer.max_epochs)
    with optuna_study.locked(file, name):
        study = optuna_study.open_study(file, name, asked, cell.monitor.mode, pruner)
        say(f"Study {name}: {len(study.trials)} trials so far, {file}")
        trials = Trials(study, space, settings, cell.study.jobs)
        trials.retry_failed()
        _run(trials, run_batch, cell.monitor.name)
        summarise(study, trials.counted(), space, cell.monitor.name, command_of(config.hydra, ()).config_dirs)


def _run(trials: Trials, run_batch: RunBatch, monitor: str) -> None:
    os.environ[TRIALS] = str(trials.total)  # the runs' records say that they were chosen among so many
    try:
        while batch := trials.next_batch():
            overrides = [trials.overrides(trial) for trial in batch]
            results = run_batch(overrides, batch[0].number, Reporter(trials.study, batch, monitor))
            for trial, result in zip(batch, results, strict=True):
                _tell(trials.study, trial, result, monitor)
    finally:
        del os.environ[TRIALS]


def _tell(study: Study, trial: Trial, result: CellResult, monitor: str) -> None:
    """The attributes first: whoever reads a trial that is told can rely on them."""
    status, reason = result.status, result.reason
    if status == "finished" and _number(result.value) is None:
        status, reason = "failed", f"it found no {monitor}"
    for key, text in (("folder", str(result.folder)), ("status", status), ("reason", reason)):
        trial.set_user_attr(key, text)
    if status == "finished":
        study.tell(trial, result.value)
        say(f"Trial {trial.number}: {monitor} {result.value:.4f}")
    else:
        # What cannot be is told as pruned, without a value: so the sampler learns from it, as not from what failed.
        study.tell(trial, state=TrialState.FAIL if status == "failed" else TrialState.PRUNED)
        say(f"Trial {trial.number}: {'pruned' if status == 'stopped' else status}")


@dataclass
class Reporter:
    """The `Watch` of a batch: tells the study each epoch's value and asks whether the run is worth going on."""

    study: Study
    batch: Sequence[Trial]
    monitor: str

    def __call__(self, place: int, history: Sequence[Mapping[str, Any]]) -> bool:
        trial = self.batch[place]
        known = self.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        for row in history:
            epoch, value = int(row["epoch"]), _number(row.get(self.monitor))
            if value is not None and epoch not in known:
                trial.report(value, epoch)
        return trial.should_prune()


def _number(value: Any) -> float | None:
    """None for what is no number, as in the cells of a CSV file that were left empty."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(number) else number


class Trials:
    """Which trials the study has, and which come next.

    A trial that runs when the process dies stays RUNNING in the storage, with its settings. As the lock says that no
    other process has the study, it is taken up again: the very same trial, whose folder goes on where it was.
    """

    def __init__(self, study: Study, space: SearchSpace, settings: Settings, jobs: int) -> None:
        self.study, self.space, self.settings, self.jobs = study, space, settings, jobs
        self.total = settings.n_trials
        self.grid: list[dict[str, Any]] = []
        if settings.sampler is SamplerName.grid:
            self.grid = space.combinations()
            random.Random(settings.seed).shuffle(self.grid)
            self.total = min(self.total, len(self.grid))

    def overrides(self, trial: Trial | FrozenTrial) -> tuple[str, ...]:
        """The command line of the trial."""
        return self.space.overrides(trial.params)

    def counted(self) -> list[FrozenTrial]:
        """Those that count for `n_trials`: a trial that was done again counts once, a repeated proposal not at all."""
        trials = self.study.get_trials(deepcopy=False)
        again = {trial.user_attrs.get("retry_of") for trial in trials}
        return [trial for trial in trials if trial.number not in again and "repeats" not in trial.user_attrs]

    def retry_failed(self) -> None:
        """As a grid does when its command is given again. New trials: what is told is told for good."""
        for trial in self.counted():
            if trial.state is TrialState.FAIL:
                self.study.enqueue_trial(trial.params, user_attrs={"retry_of": trial.number})

    def next_batch(self) -> list[Trial]:
        """At most `jobs` trials, no two of them the same run; none: the study is at its end.

        A batch ends where a trial's number is divisible by `jobs`, so that the batches of a study that was killed
        are those of one that was not, and its proposals rest on the same results.
        """
        batch: dict[tuple[str, ...], Trial] = {}
        for frozen in self._in_state(TrialState.RUNNING):
            self._accept(Trial(self.study, frozen._trial_id), batch)
        refused = 0
        while len(batch) < self.jobs and self._is_room() and refused < REPEATS_AT_MOST:
            if batch and self._next_number() % self.jobs == 0:
                break
            refused = 0 if self._accept(self._ask(), batch) else refused + 1
        if not batch and refused:
            say(f"{refused} proposals in a row were of what is known not to run: the study ends here.")
        return list(batch.values())[: self.jobs]

    def _ask(self) -> Trial:
        if self.grid and not self._in_state(TrialState.WAITING):
            tried = {self.overrides(trial) for trial in self.study.get_trials(deepcopy=False)}
            self.study.enqueue_trial(next(point for point in self.grid if self.space.overrides(point) not in tried))
        return self.study.ask()

    def _accept(self, trial: Trial, batch: dict[tuple[str, ...], Trial]) -> bool:
        """Puts the trial into the batch, unless it is known not to run. The second of two that are the same run stays
        RUNNING for the next batch."""
        self._complete(trial)
        known = {self.overrides(other): other.number for other in self.counted() if _did_not_run(other)}
        overrides = self.overrides(trial)
        if overrides in known:
            trial.set_user_attr("repeats", known[overrides])
            self.study.tell(trial, state=TrialState.PRUNED)
            return False
        batch.setdefault(overrides, trial)
        return True

    def _complete(self, trial: Trial) -> None:
        """Proposes what the trial has no value for, with the numbers of an undisturbed proposal."""
        self.study.sampler = optuna_study.sampler(self.settings, trial.number)
        _ = trial.relative_params  # settings that are proposed together; Optuna computes them when first looked at
        for key, distribution in self.space.distributions.items():
            self.study.sampler = optuna_study.sampler(self.settings, trial.number, key)
            trial._suggest(key, distribution)  # as `Study.ask` does

    def _is_room(self) -> bool:
        return len(self.counted()) < self.total or bool(self._in_state(TrialState.WAITING))

    def _in_state(self, state: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=(state,))

    def _next_number(self) -> int:
        waiting = self._in_state(TrialState.WAITING)
        return waiting[0].number if waiting else len(self.study.get_trials(deepcopy=False))


def _did_not_run(trial: FrozenTrial) -> bool:
    return trial.state.is_finished() and trial.user_attrs.get("status") in ("failed", "not applicable")
