"""`headstart sources`: what learning can start from on this machine. Imports no torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from headstart.config.fitting import fits, why_not, words
from headstart.config.published import PUBLISHED, unlisted
from headstart.config.schema import BackboneConfig, ModelConfig, SourceKind, SourcesConfig
from headstart.config.weights import UNKNOWN, Published
from headstart.errors import UserError
from headstart.say import SafeConsole, say
from headstart.sources.places import place_of
from headstart.sources.runs import OwnRun, own_runs

MOST_RUNS = 10
WIDTH = 80, 120
"""Least and most columns of the terminal that are used."""
USUAL = {"model=retinanet", "model.variant=v1", "backbone=efficientnet_lite0"}
"""The network of `headstart train` where nothing is said."""
STYLES = {"installed": "green", "cached": "green", "damaged": "red"}


def sources(config: SourcesConfig) -> list[Published]:
    """Prints and gives what is for the network that was asked for. Raises `UserError` where `folder` is a file."""
    folder = Path(config.folder).expanduser()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"folder={config.folder} is no folder: name the one that holds your runs, such as outputs/.")
    rows = fitting(config.model, config.backbone)
    console = SafeConsole(highlight=False)
    console.width = max(WIDTH[0], min(console.width, WIDTH[1]))
    console.print(published_table(rows, config.model))
    runs, problems = own_runs(folder)
    ours = [run for run in runs if run.fits(config.model, config.backbone)]
    if ours:
        console.print(runs_table(ours[:MOST_RUNS], with_network=config.model is None or config.backbone is None))
    for line in (*_notes(config, rows, runs, ours), *(f"Left out: {problem}" for problem in problems)):
        say(f"- {line}")
    return rows


def fitting(model: ModelConfig | None, backbone: BackboneConfig | None) -> list[Published]:
    """Whole detectors first; a backbone that is not in the table has a row that says no more than its name."""
    found = [row for row in PUBLISHED if fits(row, model, backbone)]
    if backbone is None or any(row.source is SourceKind.imagenet for row in found):
        return found
    return found if why_not(SourceKind.imagenet, _ANY, backbone) else [*found, unlisted(backbone)]


_ANY = ModelConfig()


def command(row: Published, model: ModelConfig | None) -> str:
    """The words that `headstart train` needs."""
    return " ".join([*words(row, model), f"source={row.source.value}", *row.given])


def published_table(rows: Sequence[Published], model: ModelConfig | None) -> Table:
    table = _table("Published weights", "fills", "here", "published", "MiB")
    for row in rows:
        usual, place = _is_usual(row), place_of(row)
        table.add_row(
            Text(command(row, model) + (" *" if usual else ""), style="bold" if usual else ""),
            row.part.value,
            Text(place.state, style=STYLES.get(place.state, "yellow")),
            row.score,
            UNKNOWN if row.mib is None else f"{row.mib:.0f}",
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("headstart train …", min_width=36, overflow="fold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _is_usual(row: Published) -> bool:
    return not set(words(row)) - USUAL


def runs_table(runs: Sequence[OwnRun], with_network: bool) -> Table:
    table = _table("Your finished runs", "mAP", "on", "trained on")
    for run in runs:
        value = run.map_on(run.split)
        table.add_row(
            Text(run_command(run, with_network)),
            "not measured" if value is None else f"{value:.3f}",
            Text(f"{run.name} {run.split}"),
            Text(" -> ".join(map(str, run.record.lineage))),
        )
    return table


def run_command(run: OwnRun, with_network: bool) -> str:
    network = run.words if with_network else []
    source = ["source=checkpoint", f"source.path={run.folder}", f"source.name={run.name}"]
    return " ".join(map(shlex.quote, [*network, *source]))


def _notes(
    config: SourcesConfig, rows: Sequence[Published], runs: Sequence[OwnRun], ours: Sequence[OwnRun]
) -> Iterator[str]:
    if any(map(_is_usual, rows)):
        yield "* of the model and backbone that `headstart train` has where nothing is said."
    yield from _known(rows)
    yield from dict.fromkeys(f"{place.state}: {place.remedy}" for row in rows if (place := place_of(row)).remedy)
    if config.model and config.backbone:
        reasons = (why_not(kind, config.model, config.backbone) for kind in SourceKind)
        yield from (f"Not for this network: {reason}" for reason in reasons if reason)
    yield "source=scratch needs nothing; source=pretrained trains a detector first (dataset@source.dataset=…)."
    if len(ours) > MOST_RUNS:
        yield f"{len(ours) - MOST_RUNS} more of your runs are for this network: headstart compare {config.folder}"
    if not ours:
        there = f"of {len(runs)} finished ones in {config.folder} none is for this network"
        yield f"Your own runs: {there if runs else f'none is finished in {config.folder}'}."


def _known(rows: Sequence[Published]) -> Iterator[str]:
    """What is known of the weights beside their size and score, of those with the same together."""
    groups: dict[tuple[str, ...], list[Published]] = {}
    for row in rows:
        licence = row.licence + (f"; file: {row.place}" if row.source is SourceKind.darknet else "")
        groups.setdefault((row.source.value, row.trained_on, row.score_from, licence), []).append(row)
    for (source, trained_on, score_from, licence), found in groups.items():
        names = ", ".join(dict.fromkeys(row.backbone for row in found))
        yield f"source={source} on {names}: trained on {trained_on}; number: {score_from}; licence: {licence}"
