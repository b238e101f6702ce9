"""The report in the terminal: the splits, a table for each severity, and where the first of each kind are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from headstart.config.kinds import Severity
from headstart.data.show import dataset_table
from headstart.data.types import DatasetInfo
from headstart.doctor.findings import REFUSED, Finding

FEWEST_COLUMNS, MOST_COLUMNS = 80, 140
PLACES_SHOWN = 10

_STYLES = {Severity.error: "bold red", Severity.warning: "bold yellow", Severity.note: "bold"}
_MEANING = {
    Severity.error: "something is lost, or would be learnt wrongly",
    Severity.warning: "may be meant so; a look is worth it",
    Severity.note: "harmless",
}


def show(findings: Sequence[Finding], info: DatasetInfo | None, console: Console) -> None:
    if info is not None:
        console.print(dataset_table(info))
    for severity in Severity:
        some = [finding for finding in findings if finding.severity is severity]
        for part in _part(severity, some) if some else ():
            console.print(part, soft_wrap=isinstance(part, Text))
    counts = [(sum(finding.severity is severity for finding in findings), severity.value) for severity in Severity]
    said = ", ".join(f"{count} of severity {name}" for count, name in counts if count)
    console.print(Text(f"Findings: {said}." if said else "Nothing strange was found."), soft_wrap=True)


def fit(console: Console) -> Console:
    """A console of a width in which the tables can be read."""
    console.width = max(FEWEST_COLUMNS, min(console.width, MOST_COLUMNS))
    return console


def _part(severity: Severity, findings: Sequence[Finding]) -> Iterator[RenderableType]:
    yield Text(f"{severity.value}: {_MEANING[severity]}", style=_STYLES[severity])
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("how many", justify="right")
    table.add_column("kind", no_wrap=True)
    table.add_column("what", ratio=3)
    table.add_column("training", ratio=2)
    rows = [finding for finding in findings if finding.kind != REFUSED]
    for finding in rows:
        table.add_row(f"{finding.count:,}", finding.kind, Text(finding.what), Text(finding.training))
    yield from (_places(finding) for finding in findings if finding.kind == REFUSED)
    if rows:
        yield table
    yield from (_places(finding) for finding in rows)
    yield Text("")


def _places(finding: Finding) -> Text:
    """A heading with the setting, and a line for each of the first places."""
    more = finding.count - PLACES_SHOWN
    head = finding.kind + (f"  [{finding.setting}]" if finding.setting else "")
    said = [place.where for place in finding.places[:PLACES_SHOWN]]
    if finding.kind == REFUSED:
        said = said[0].splitlines()
    lines = [f"  {printable(line)}" for line in said]
    return Text("\n".join([head, *lines, *([f"  and {more:,} more, in doctor.json"] if more > 0 else [])]))


def printable(text: str) -> str:
    """What names of files and classes bring along is shown, not obeyed: no control characters reach the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
