"""A paragraph per target: what to do, from the numbers alone, and how sure they are.

Best and cheapest are picked by the numbers, so nothing said of them may rest on a comparison judged by itself: verdicts
and intervals are those of the target's family.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from headstart.reporting.arms import name_of
from headstart.reporting.baseline import is_scratch
from headstart.reporting.comparison import Target
from headstart.reporting.costs import COSTS
from headstart.reporting.labels import BUDGETS, Saving
from headstart.reporting.matrix import full_rows
from headstart.reporting.rows import Question, Row
from headstart.reporting.verdicts import Judged

MOST_NAMES = 3
MUCH_CHEAPER = 0.7

Beside = tuple[Row, Judged | None]
"""An arm, and how it stands beside the best one; None where they share no seed."""


def advice(target: Target) -> str:
    """Among the arms with most labels: the cheapest that loses no more than the margin against the best, for sure, else
    the best itself."""
    rows = full_rows(target)
    if not rows:
        return "No run has a number: there is no ground truth for this metric."
    best, question = rows[0], target.question
    beside = [(row, target.judge(row, best)) for row in rows[1:]]
    cheaper = [one for one in beside if _cost(one[0], question.cost) < _cost(best, question.cost) < math.inf]
    equal = [one for one in cheaper if _is_equal(one[1], question.margin)]
    choice = min(equal, key=lambda one: _cost(one[0], question.cost), default=(best, None))
    sentences = [
        _choice(choice, best, question),
        *(_cheaper(cheaper, best, question) if choice[0] is best else ()),
        *_selected(choice[0]),
        *_certainty(best, rows, beside),
        *_saved(choice[0], target),
        *_harm(rows),
        *_unknown(rows, question.group),
    ]
    return " ".join(sentences)


def describe(row: Row) -> str:
    """`head_only from imagenet`, with what else distinguishes the arm behind it; not how many labels it has."""
    source, strategy = row.arm.setting("source"), row.arm.setting("strategy")
    if not source or not strategy:
        return row.arm.name
    others = {key: value for key, value in row.arm.labels.items() if key not in ("source", "strategy", *BUDGETS)}
    rest = f" with {name_of(others)}" if others else ""
    return f"{strategy} from {source}{rest}"


def number(row: Row) -> str:
    """`0.330 ± 0.010`."""
    return f"{row.mean:.3f}" + ("" if row.half is None else f" ± {row.half:.3f}")


def _is_worse(found: Judged | None) -> bool:
    return found is not None and found.verdict == "worse"


def _is_equal(found: Judged | None, margin: float) -> bool:
    return found is not None and found.loss_at_most is not None and found.loss_at_most <= margin


def _cost(row: Row, cost: str) -> float:
    value = row.arm.cost(cost)
    return math.inf if math.isnan(value) else value


def _choice(choice: Beside, best: Row, question: Question) -> str:
    row, found = choice
    seeds = len(row.values)
    text = f"Use {describe(row)}: {number(row)} ({_seeds(seeds)})"
    if found is None:
        return text + ", the highest mean."
    return (
        f"{text} at {_times(row, best, question.cost)} of {describe(best)}, which has the highest mean, "
        f"{number(best)}; against that it loses {found.loss_at_most:.3f} at most (margin {question.margin:g})."
    )


def _seeds(number: int) -> str:
    return f"{number} seed{'s' * (number != 1)}"


def _times(row: Row, other: Row, cost: str) -> str:
    factor = _cost(row, cost) / _cost(other, cost)
    return f"{factor:.2g} times the {COSTS[cost][0]}"


def _cheaper(cheaper: Sequence[Beside], best: Row, question: Question) -> Iterator[str]:
    """Which cheaper arm may be as good, and what would settle it; where all are surely worse, what the best loses."""
    open_ = [one for one in cheaper if one[1] is not None and not _is_worse(one[1])]
    if open_:
        # of those that lose little, as far as is seen, the cheapest; a dear tie is a better question than a cheap loser
        yield _open(min(open_, key=lambda one: _urgency(one, question)), best, question)
        return
    much = [
        row
        for row, _ in cheaper
        if row.pareto and _cost(row, question.cost) < MUCH_CHEAPER * _cost(best, question.cost)
    ]
    if much:
        yield f"Cheaper: {describe(much[0])}, {number(much[0])} at {_times(much[0], best, question.cost)}."


def _selected(choice: Row) -> Iterator[str]:
    """Where its number was chosen on the images it is judged by, more than the others'."""
    if choice.selected:
        yield f"Its number was chosen on these very images ({choice.selected}), so it is too good; a test split tells."


def _urgency(one: Beside, question: Question) -> tuple[bool, float]:
    row, found = one
    return found is None or -found.mean > question.margin, _cost(row, question.cost)


def _open(one: Beside, best: Row, question: Question) -> str:
    row, found = one
    assert found is not None
    text = f"Open: {describe(row)} at {_times(row, best, question.cost)} loses {max(0.0, -found.mean):.3f}"
    if found.loss_at_most is None:
        return f"{text} as far as {_seeds(found.pairs)} can tell; run at least 2 more."
    return (
        f"{text}, and may lose {found.loss_at_most:.3f}, more than the margin of {question.margin:g}; "
        f"{_settles(found, question.margin)}."
    )


def _settles(found: Judged, margin: float) -> str:
    """The seeds, or the pictures, that show a loss within the margin, or any loss at all: whichever are fewer."""
    seeds = min(filter(None, (found.more_to_equal(margin), found.more_seeds)), default=None)
    pictures = min(filter(None, (found.pictures_to_equal(margin), found.more_pictures)), default=None)
    ways = list(_ways(seeds, pictures))
    return f"about {' or '.join(ways)} would settle it" if ways else "200 seeds would not settle it"


def _ways(seeds: int | None, pictures: int | None) -> Iterator[str]:
    """What there must be more of: seeds on the same pictures, or pictures with the same seeds."""
    for more, what in ((seeds, "seed"), (pictures, "picture")):
        if more is not None:
            yield f"{more} more {what}{'s' * (more > 1)}"


def _certainty(best: Row, rows: Sequence[Row], beside: Sequence[Beside]) -> Iterator[str]:
    if len(rows) == 1:
        yield "Nothing else was run with as many labels, so this is no comparison."
    elif best.half is None:
        yield "One seed: a hint, no more. seed=0,1,2 would begin to tell luck from effect."
    else:
        ties = [one for one in beside if not _is_worse(one[1])]
        if worse := len(beside) - len(ties):
            yield f"Sure at 95 %, all arms considered: {describe(best)} is better than {_count(worse, len(beside))}."
        if ties:
            yield (
                f"Not distinguishable from {describe(best)}: "
                + "; ".join(_tie(*tie) for tie in ties[:MOST_NAMES])
                + (f"; and {len(ties) - MOST_NAMES} more." if len(ties) > MOST_NAMES else ".")
            )


def _count(some: int, of: int) -> str:
    return "every other" if some == of else f"{some} of {of} others"


def _tie(row: Row, found: Judged | None) -> str:
    return f"{describe(row)} ({number(row)}; {how_to_settle(found)})"


def how_to_settle(found: Judged | None) -> str:
    """What would tell two arms apart that are not yet."""
    if found is None:
        return "no seed in common"
    if found.pairs == 1:
        return "1 seed in common: run at least 2 more"
    if found.mean == 0 and found.deviation == 0:
        return f"equal with {found.pairs} seeds"
    ways = list(_ways(found.more_seeds, found.more_pictures))
    if not ways:
        return f"no difference that 200 seeds would show, going by {found.pairs}"
    return f"about {' or '.join(ways)} would tell"


def _harm(rows: Sequence[Row]) -> Iterator[str]:
    harmful = [f"{describe(row)} ({row.gain.mean:+.3f})" for row in rows if row.gain and row.negative_transfer]
    if harmful:
        yield f"Negative transfer, below scratch: {', '.join(harmful)}."


def _unknown(rows: Sequence[Row], group: Sequence[str]) -> Iterator[str]:
    if (not group or "source" in group) and not any(is_scratch(row.arm) for row in rows):
        yield "Whether transfer helps at all is not known: no run from scratch."


def _saved(choice: Row, target: Target) -> Iterator[str]:
    """What the advised way saves of the labels."""
    for saving in target.savings:
        if saving.curve.points[-1].arm is choice.arm:
            yield _saving(saving)


def _saving(saving: Saving) -> str:
    goal = f"what {saving.reference.name} reaches with {saving.reference.points[-1].images:.0f} labelled images"
    if saving.images is None or saving.saved is None:
        return f"Even with all labels {saving.curve.name} does not reach {goal} ({saving.goal:.3f})."
    at_most = "at most " if saving.at_most else "about "
    needed = f"{at_most}{saving.images:.0f} images for {goal} ({saving.goal:.3f})"
    return f"{saving.curve.name} needs {needed}: {saving.saved:.0%} fewer."
