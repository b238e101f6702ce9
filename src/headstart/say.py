"""Prints for the user, in one process alone. Imports nothing heavy."""

from __future__ import annotations

import os
from typing import Any

from rich.console import Console
from rich.text import Text

from headstart.visible import masked, visible


class SafeConsole(Console):
    """Shows names as they are: what would move the cursor, or write into the terminal's title, is written out."""

    def render_str(self, text: str, **settings: Any) -> Text:
        return super().render_str(visible(masked(text)), **settings)


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
        shown = [Text(visible(masked(item))) if isinstance(item, str) else item for item in what]
        console.print(*shown, soft_wrap=True, highlight=False)
