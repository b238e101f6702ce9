"""What is done about each defect of a data set, and the list of all that were found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from headstart.config.kinds import KINDS, Action
from headstart.data.types import Defect
from headstart.errors import UserError

_NAMES_SHOWN = 3


class Policy:
    """What `dataset.on` says, or the default of the kind.

    What is to be refused is gathered, and `check` refuses all of it at once; so a reader goes on until then, and with
    `refuses` False to the end.
    """

    def __init__(self, on: Mapping[str, str] | None = None, refuses: bool = True) -> None:
        self._on = {kind: Action(action) for kind, action in (on or {}).items()}
        self._refuses = refuses
        self.defects: list[Defect] = []
        self._refused: dict[str, list[str]] = defaultdict(list)

    def action(self, kind: str) -> Action:
        return self._on.get(kind, KINDS[kind].actions[0])

    def report(self, kind: str, where: str, image: str = "") -> Action:
        """What the reader is to do, which is never `error`: what is refused in the end goes on as the mildest else.

        `where`: file, and line or object number; `image`: relative to the data set's folder, empty where there is none.
        """
        action = self.action(kind)
        self.defects.append(Defect(kind, where, KINDS[kind].done(action), image))
        if action is not Action.error:
            return action
        self._refused[kind].append(where)
        return next(other for other in KINDS[kind].actions if other is not Action.error)

    def check(self) -> None:
        """UserError where anything found so far is to be refused: of each kind the count, the first, and the remedy."""
        if self._refused and self._refuses:
            raise UserError("\n".join(_refusal(kind, places) for kind, places in self._refused.items()))


def _refusal(kind: str, places: list[str]) -> str:
    others = [action.value for action in KINDS[kind].actions if action is not Action.error]
    more = f"; and {len(places) - _NAMES_SHOWN} more" if len(places) > _NAMES_SHOWN else ""
    return (
        f"{len(places)} {kind} ({KINDS[kind].what}): {'; '.join(places[:_NAMES_SHOWN])}{more}. "
        f"{KINDS[kind].remedy}, or go on with dataset.on.{kind}={' or '.join(others)}."
    )
