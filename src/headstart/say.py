"""Prints for the user, in one process alone. Imports nothing heavy."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from headstart.visible import masked, visible


class SafeConsole(Console):
    """Shows names as they are: what would move the cursor, or write into the terminal's title, is written out, and
    text is no markup, wherever it stands: a class may be called `[red]`, or `[/b]`, which rich refuses."""

    def render_str(self, text: str, **settings: Any) -> Text:
        settings["markup"] = False
        return super().render_str(shown(text), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        return super().render(_clean(renderable) if isinstance(renderable, Text) else renderable, options)


def shown(text: str) -> str:
    """As a terminal may get it."""
    return visible(masked(text))


def _clean(text: Text) -> Text:
    plain = shown(text.plain)
    if plain == text.plain:
        return text
    clean = text.copy()
    clean.plain = plain
    return clean


class SafeLines(logging.Formatter):
    """Of what libraries log, which may hold names and addresses as well."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


console = SafeConsole()


def is_main_process() -> bool:
    """Of several processes that train together, the one that prints and writes.

    Known before torch is: from what torchrun (RANK), Lightning (NODE_RANK, LOCAL_RANK) or Slurm (SLURM_PROCID) set,
    in this order: what Lightning starts inside a Slurm job inherits the job's rank.
    """
    for ranks in (("RANK",), ("LOCAL_RANK", "NODE_RANK"), ("SLURM_PROCID",)):
        if ranks[0] in os.environ:
            return all(int(os.environ.get(rank, 0)) == 0 for rank in ranks)
    return True


def say(*what: Any) -> None:
    """Text, as it is, and rich tables; lines are not broken, so that a path can be copied.

    Text is no markup: a folder may be called `[red]`.
    """
    if is_main_process():
        texts = [Text(shown(item)) if isinstance(item, str) else item for item in what]
        console.print(*texts, soft_wrap=True, highlight=False)
