"""A paragraph per target: what to do, from the numbers alone, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from headstart.reporting.arms import name_of
from headstart.reporting.baseline import is_scratch
from headstart.reporting.comparison import Row, Target
from headstart.reporting.costs import COSTS
from headstart.reporting.labels import BUDGETS, Saving
from headstart.reporting.matrix import full_rows
from headstart.reporting.statistics import Difference, paired

MOST_NAMES = 3


def advice(target: Target) -> str:
    """Among the arms with most labels: the cheapest of those that cannot be told from the best."""
    rows = full_rows(target)
    if not rows:
        return "No run has a number: there is no ground truth for this metric."
    best, cost = rows[0], target.question.cost
    against = [(row, paired(row.values, best.values)) for row in rows[1:]]
    ties = [(row, found) for row, found in against if not _is_worse(found)]
    cheap = min([best, *(row for row, _ in ties if row.half is not None)], key=lambda row: _cost(row, cost))
    choice = cheap if best.half is not None else best
    sentences = [
        _choice(choice, best, cost),
        *_alternatives(choice, best, rows, cost),
        *_selected(choice),
        *_certainty(choice, best, rows, ties),
        *_saved(choice, target),
        *_harm(rows),
        *_unknown(rows, target.question.group),
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


def _is_worse(found: Difference | None) -> bool:
    return found is not None and found.verdict == "worse"


def _cost(row: Row, cost: str) -> float:
    value = row.arm.cost(cost)
    return math.inf if math.isnan(value) else value


def _choice(choice: Row, best: Row, cost: str) -> str:
    seeds = len(choice.values)
    text = f"Use {describe(choice)}: {number(choice)} ({seeds} seed{'s' * (seeds > 1)})"
    if choice is best:
        return text + ", the highest mean."
    return text + f" at {_times(choice, best, cost)} of {describe(best)}, which has the highest mean, {number(best)}."


def _times(row: Row, other: Row, cost: str) -> str:
    factor = _cost(row, cost) / _cost(other, cost)
    return f"{factor:.2g} times the {COSTS[cost][0]}"


def _alternatives(choice: Row, best: Row, rows: Sequence[Row], cost: str) -> Iterator[str]:
    """What is much cheaper, and what that loses."""
    if choice is not best:
        return
    cheaper = [row for row in rows if row.pareto and _cost(row, cost) < 0.7 * _cost(best, cost)]
    if cheaper:
        row = cheaper[0]
        yield (f"Cheaper: {describe(row)}, {number(row)} at {_times(row, best, cost)}.")


def _selected(choice: Row) -> Iterator[str]:
    """Where its number was chosen on the images it is judged by, more than the others'."""
    if choice.selected:
        yield f"Its number was chosen on these very images ({choice.selected}), so it is too good; a test split tells."


def _certainty(
    choice: Row, best: Row, rows: Sequence[Row], ties: Sequence[tuple[Row, Difference | None]]
) -> Iterator[str]:
    if len(rows) == 1:
        yield "Nothing else was run with as many labels, so this is no comparison."
    elif best.half is None:
        yield "One seed: a hint, no more. seed=0,1,2 would tell luck from effect."
    else:
        worse = len(rows) - 1 - len(ties)
        if worse:
            yield f"Sure at 95 %: {describe(best)} is better than {_count(worse, len(rows) - 1)}."
        if ties:
            yield (
                f"Not distinguishable from {describe(best)}: "
                + "; ".join(_tie(*tie) for tie in ties[:MOST_NAMES])
                + (f"; and {len(ties) - MOST_NAMES} more." if len(ties) > MOST_NAMES else ".")
            )


def _count(some: int, of: int) -> str:
    return "every other" if some == of else f"{some} of {of} others"


def _tie(row: Row, found: Difference | None) -> str:
    return f"{describe(row)} ({number(row)}; {how_to_settle(found)})"


def how_to_settle(found: Difference | None) -> str:
    """What would tell two arms apart that are not yet."""
    if found is None:
        return "no seed in common"
    if found.pairs == 1:
        return "1 seed in common: run at least 2 more"
    if found.mean == 0 and found.deviation == 0:
        return f"equal with {found.pairs} seeds"
    more = found.more_seeds
    if more is None:
        return f"no difference that 200 seeds would show, going by {found.pairs}"
    return f"about {more} more seed{'s' * (more > 1)} would tell"


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
