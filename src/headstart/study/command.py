"""A run as the command that a user would type. Imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Command:
    """Folders of configuration and overrides: all that tells one run from another."""

    overrides: tuple[str, ...]
    config_dirs: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    """Overrides that nobody typed: numbers that were left to the data."""

    def words(self, only_source: int = 0) -> list[str]:
        """For a process of its own: the run, or one of those that its source comes of (`study.only_source`)."""
        words = [sys.executable, "-m", "headstart", "train"]
        for folder in self.config_dirs:
            words += ["--config-dir", folder]
        words += [word for word in self.overrides if not word.startswith(_OF_THE_STUDY)]
        words += self.found
        return words + ([f"study.only_source={only_source}"] if only_source else [])


_OF_THE_STUDY = ("study.jobs=", "study.only_source=", "hydra.", "hydra/", "+hydra.", "++hydra.")
"""What a single run has no use for."""


def command_of(hydra: Any, overrides: Sequence[str], found: Sequence[str] = ()) -> Command:
    """`hydra`: its own node of the configuration, which knows where the user's configuration lies."""
    folders = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    return Command(tuple(overrides), tuple(folders), tuple(found))


def labels(cells: Sequence[Sequence[str]], given: Sequence[str] = ()) -> list[str]:
    """What tells one cell of a study from the others; all of its overrides where nothing does.

    `given` are the words of the study's command: what a cell has of them, all cells have.
    """
    shown = [[word for word in cell if not word.startswith(_OF_THE_STUDY)] for cell in cells]
    shared = set(given) | (set(shown[0]).intersection(*shown[1:]) if len(shown) > 1 else set())
    return [" ".join(word for word in cell if word not in shared) or " ".join(cell) for cell in shown]
