"""`headstart train` with one configuration: the sources it needs first, then the run. Imports no torch until then."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from headstart.config.resolve import resolved_dict, typed
from headstart.config.schema import RunConfig
from headstart.errors import UserError
from headstart.runs.attempt import why_failed
from headstart.runs.from_data import Known, know, with_numbers
from headstart.runs.identity import flat
from headstart.runs.idle import idle_words
from headstart.runs.inputs import same_inputs
from headstart.runs.lock import BUSY, is_busy
from headstart.runs.parent import GRACE_SECONDS, of_this_process
from headstart.runs.pretrained import check_all, check_all_files, folder_of, is_finished, selected, source_run
from headstart.say import is_main_process, say
from headstart.study.command import Command, command_of


@dataclass(frozen=True)
class Single:
    """A run, and how to start it and its sources as processes of their own."""

    config: RunConfig
    command: Command
    level: int
    """0: the run of the command itself; 1: the source it starts from; 2: that one's own …"""
    lines: tuple[str, ...] = ()
    """What was left to the data, and is found."""
    known: Known | None = None
    """Its data, where that was read for it."""


def read_single(cfg: DictConfig, hydra: Any) -> Single:
    """The run that the configuration asks for. Raises `UserError` for what is missing or does not go together."""
    config = typed(cfg, RunConfig)
    if config.study.jobs != 1:
        raise UserError(f"study.jobs={config.study.jobs} has an effect on a study alone: add -m, or leave it out.")
    for group, ours in (("hydra/sweeper", "basic"), ("hydra/launcher", "headstart")):
        if (choice := hydra.runtime.choices.get(group)) not in (None, ours):
            raise UserError(f"{group}={choice} has an effect on a study alone: add -m, or leave it out.")
    _check(selected(config))
    numbers = with_numbers(config, lambda words: _set(cfg, words), know)
    chosen, level = selected(numbers.config), config.study.only_source
    if numbers.words:
        _check(chosen)
    command = command_of(hydra, hydra.overrides.task, numbers.words)
    return Single(chosen, command, level, numbers.lines, None if level else numbers.known)


def _check(config: RunConfig) -> None:
    check_all(config)
    check_all_files(config)


def _set(cfg: DictConfig, words: Sequence[str]) -> RunConfig:
    for word in words:
        key, _, value = word.partition("=")
        OmegaConf.update(cfg, key, value)
    return typed(cfg, RunConfig)


def train(single: Single) -> None:
    """Raises `UserError` where the source cannot be trained."""
    if is_main_process():
        for line in idle_words(single.command.overrides, flat(resolved_dict(single.config))):
            say(line)
        for line in single.lines:
            say(line)
        _train_source(single)

    import headstart.libraries  # noqa: F401
    from headstart.run import run

    run(single.config, single.known)


def _train_source(single: Single) -> None:
    """In a process of its own, which trains that one's own source first; or another process does, and we wait.

    The process also looks at a source that is trained, where one of the files that it was made from has changed.
    """
    source = source_run(single.config)
    if source is None:
        return
    folder = folder_of(source)
    while not (is_finished(folder) and same_inputs(source, folder)):
        if is_busy(folder):
            say(f"Another process trains the source {folder}: waiting for it.")
            while is_busy(folder):
                time.sleep(1)
            continue
        say(f"{'Looking at' if is_finished(folder) else 'Training'} the source first: {folder}")
        code = wait_for(single.command.words(single.level + 1))
        if code == 0:
            return
        if code != BUSY:
            raise UserError(f"The source {folder} could not be trained. {why_failed(folder, code)}")


def wait_for(words: Sequence[str]) -> int:
    """The exit code. Interrupted, the process is told to end, which from a terminal it has been, and has time to."""
    process = subprocess.Popen(words, env=os.environ | of_this_process())
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        try:
            process.wait(GRACE_SECONDS)
        finally:
            process.kill()
        raise
