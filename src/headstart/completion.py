"""Tab completion: Hydra's, told of our verbs and without our schemas."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterable

FLAGS = ("-sc", "--shell-completion")


def complete(
    arguments: list[str], verb: str | None, verbs: Iterable[str], run: Callable[[str, list[str]], None]
) -> None:
    """Answers `-sc install=bash`, `-sc query=bash` and their like; `run(verb, arguments)` is Hydra.

    `verb` is that of `python train.py`; of `headstart` it is the second word of the line that is being completed.
    """
    if verb is None and any(argument.startswith("query=") for argument in arguments):
        words = os.environ.get("COMP_LINE", "").split(" ")
        if len(words) <= 2:
            return print(*verbs)
        verb = words.pop(1)
        os.environ["COMP_LINE"] = " ".join(words)
        if verb not in verbs:
            return None
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        run(verb or "train", arguments)
    lines = said.getvalue().splitlines()
    if any(argument.startswith("query=") for argument in arguments):
        lines = [" ".join(word for word in line.split() if "schema_" not in word) for line in lines]
    print("\n".join(lines))
