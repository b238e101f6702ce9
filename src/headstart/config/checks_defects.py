"""What `dataset.on` may say."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from headstart.config.kinds import KINDS
from headstart.errors import UserError


def check_on(on: Mapping[str, str]) -> None:
    """UserError with everything that is wrong, a line each."""
    if problems := [*on_problems(on)]:
        raise UserError("\n".join(problems))


def on_problems(on: Mapping[str, str]) -> Iterator[str]:
    for name, action in on.items():
        word = f"dataset.on.{name}={action}"
        kind = KINDS.get(name)
        if kind is None:
            near = difflib.get_close_matches(name, list(KINDS), n=1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            yield f"{word}: there is no such kind of defect.{meant} Kinds: {', '.join(sorted(changeable()))}."
        elif kind.setting:
            yield f"{word}: what is done about {name} is set with {kind.setting}=…."
        elif action not in [allowed.value for allowed in kind.actions]:
            yield f"{word}: must be {' or '.join(allowed.value for allowed in kind.actions)} (default first)."


def changeable() -> list[str]:
    """Kinds of which `dataset.on` says what is done."""
    return [name for name, kind in KINDS.items() if not kind.setting]
