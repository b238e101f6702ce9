"""What the doctor found, a line for each kind, from whatever part of reading noticed it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from headstart.config.kinds import KINDS, Action, Severity
from headstart.data.policy import Policy
from headstart.data.show import UNUSED, class_gaps
from headstart.data.types import DatasetInfo, Defect, Unused
from headstart.errors import UserError


@dataclass(frozen=True)
class Place:
    """Where something was found."""

    where: str
    """File, and line or object number."""
    image: str = ""
    """The picture, relative to the data set's folder; empty where there is none."""


@dataclass(frozen=True)
class Finding:
    """All that was found of one kind, and is dealt with in one way."""

    kind: str
    severity: Severity
    what: str
    count: int
    training: str
    """What training does about it."""
    setting: str
    """What changes that; empty: nothing but other data."""
    places: tuple[Place, ...]
    """Of all, but for files that are not used: of those the first thousands."""

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.error


REFUSED = "refused"
"""Kind of the finding that training cannot begin."""

_RANK = {severity: rank for rank, severity in enumerate(Severity)}
_WORTH_A_LOOK = ("no_label", "no_picture", "too_many_files")
"""Of the reasons for which files are not used; of the others a set may well be meant to have some."""


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Worst first; a refusal before all else."""
    return sorted(findings, key=lambda one: (_RANK[one.severity], one.kind != REFUSED, -one.count, one.kind))


def of_defects(defects: Iterable[Defect], policy: Policy) -> Iterator[Finding]:
    """A kind that training is told to refuse is an error, whatever it is by itself."""
    groups: dict[tuple[str, str], list[Defect]] = defaultdict(list)
    for defect in defects:
        groups[defect.kind, defect.action].append(defect)
    for (name, action), found in groups.items():
        kind = KINDS[name]
        severity = Severity.error if policy.action(name) is Action.error else kind.severity
        places = tuple(Place(defect.where, defect.image) for defect in found)
        yield Finding(name, severity, kind.what, len(found), action, setting(name, policy), places)


def setting(name: str, policy: Policy) -> str:
    """`dataset.on.clipped_box=skip_box|skip_image|error`: the actions but the present one."""
    kind = KINDS[name]
    others = [action.value for action in kind.actions if action is not policy.action(name)]
    return kind.setting or (f"dataset.on.{name}={'|'.join(others)}" if others else "")


def of_unused(unused: Mapping[str, Unused], defects: Iterable[Defect]) -> Iterator[Finding]:
    """But those that a defect names already."""
    known = {said for defect in defects for said in (defect.where, defect.image)}
    for reason, files in unused.items():
        severity = Severity.warning if reason in _WORTH_A_LOOK else Severity.note
        places = tuple(Place(name) for name in files.first if name not in known)
        if count := files.count - len(files.first) + len(places):
            yield Finding(f"unused_{reason}", severity, UNUSED[reason], count, "does not use them", "", places)


def of_classes(info: DatasetInfo) -> Iterator[Finding]:
    """Of one split alone the readers tell; here is what no training can mend."""
    if names := class_gaps(info)["class_not_in_train"]:
        training = "learns nothing of it; it counts in mAP"
        places = tuple(map(Place, names))
        yield Finding(
            "class_not_in_train", Severity.warning, "a class that train lacks", len(names), training, "", places
        )


def refused(error: UserError) -> Finding:
    """Training would stop here with the same words."""
    return Finding(REFUSED, Severity.error, "the data set is refused", 1, "refuses", "", (Place(str(error)),))
