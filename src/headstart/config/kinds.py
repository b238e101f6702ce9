"""What can be wrong with a data set, and what may be done about it: one table. Imports no torch.

`dataset.on.<kind>=<action>` chooses among the actions of a kind; the first one is the default. A kind that no setting
changes has one action. What is found is counted in the record, with what was done.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """How bad a kind of defect is."""

    error = "error"  # something is lost, or what is learnt would be wrong
    warning = "warning"  # may be meant so; a look is worth it
    note = "note"  # harmless


class Action(Enum):
    """What is done about a defect."""

    error = "error"  # the data set is refused
    skip_box = "skip_box"
    clip = "clip"
    skip_image = "skip_image"
    keep = "keep"


@dataclass(frozen=True)
class Kind:
    """A kind of defect."""

    what: str
    """For people: `a box without area`."""
    severity: Severity
    actions: tuple[Action, ...]
    """Allowed ones, the default first."""
    costly: bool = False
    """Whether pictures must be decoded to see it: `headstart doctor` does, and training where an action other than the
    default is asked for."""
    setting: str = ""
    """What changes the outcome where it is not `dataset.on.<kind>`."""


_ERROR, _WARNING, _NOTE = Severity.error, Severity.warning, Severity.note
_REFUSE, _SKIP_BOX, _CLIP, _SKIP_IMAGE, _KEEP = (
    Action.error,
    Action.skip_box,
    Action.clip,
    Action.skip_image,
    Action.keep,
)

KINDS: dict[str, Kind] = {
    "unreadable_image": Kind("a picture that cannot be read", _ERROR, (_SKIP_IMAGE, _REFUSE)),
    "empty_box": Kind("a box without area", _ERROR, (_SKIP_BOX, _SKIP_IMAGE, _REFUSE)),
    "box_outside": Kind("a box wholly outside of its picture", _ERROR, (_SKIP_BOX, _SKIP_IMAGE, _REFUSE)),
    "outside_root": Kind("a file out of the data set's folder that the data names", _ERROR, (_REFUSE, _KEEP)),
    "clipped_box": Kind("a box partly outside of its picture", _WARNING, (_CLIP, _SKIP_BOX, _SKIP_IMAGE, _REFUSE)),
}
