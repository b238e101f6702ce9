"""What the runs of a study found. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from headstart.config.schema import CompareConfig, WandbConfig
from headstart.errors import UserError
from headstart.records.record import DETECTIONS, RunRecord, record_files
from headstart.reporting.baseline import parse_spec
from headstart.reporting.comparison import Comparison, compare_runs
from headstart.reporting.comparison_csv import as_csv, classes_as_csv
from headstart.reporting.measured import Run
from headstart.reporting.page import as_html
from headstart.reporting.pictures import Measured
from headstart.reporting.rows import Question
from headstart.reporting.tables import terminal
from headstart.reporting.wandb_comparison import log_comparison
from headstart.say import SafeConsole, say

TERMINAL = 80
"""Columns; a wider terminal is used as far as it goes."""


def compare(config: CompareConfig) -> Comparison:
    """Prints tables and advice, writes comparison.csv, comparison_classes.csv and report.html; logs to W&B if asked.

    Raises `UserError` where nothing is finished and measured, or the question names what is not there.
    """
    if not config.wandb and config.wandb_run != WandbConfig():
        raise UserError("wandb_run is set but wandb=false: add wandb=true, or leave wandb_run out.")
    folder = Path(config.folder).expanduser()
    target = Path(config.report_dir).expanduser() if config.report_dir else folder
    comparison = compare_runs(list(read_slim(folder)), question(config), _look)
    files = {
        "comparison.csv": as_csv(comparison),
        "comparison_classes.csv": classes_as_csv(comparison),
        "report.html": as_html(comparison, target),
    }
    for name, text in files.items():
        _write(target / name, text)
    console = SafeConsole(highlight=False)
    console.width = max(TERMINAL, min(console.width, 120))
    console.print(terminal(comparison))
    for name in files:
        say(f"Written: {target / name}")
    if config.wandb:
        for line in log_comparison(comparison, config.wandb_run, target / "report.html"):
            say(line)
    return comparison


def _look(folder: Path, record: RunRecord, split: str, metric: str) -> Measured | None:
    """What a run found on each picture; what reads it is imported where there is something to read."""
    if not (folder / DETECTIONS).exists():
        return None
    from headstart.evaluation.looking import look

    return look(folder, record, split, metric)


def question(config: CompareConfig) -> Question:
    return Question(
        metric=config.metric,
        split=config.split or "",
        cost=config.cost.value,
        group=tuple(word for word in re.split(r"[,\s]+", (config.group or "").strip("[] ")) if word),
        baseline=parse_spec(config.baseline) if config.baseline else None,
        margin=config.margin,
    )


def read_slim(folder: Path) -> Iterator[Run]:
    """The records below `folder` without what no comparison reads: a thousand of them fit into memory.

    A record that cannot be read is a failed run whose error says why.
    """
    for path in record_files(folder):
        try:
            record = RunRecord.read(path)
        except UserError as error:
            yield path.parent, RunRecord("failed", error={"type": "unreadable record", "message": str(error)})
            continue
        rows = [
            {key: value for key, value in row.items() if _is_read(key)} for row in record.metrics.get("history", [])
        ]
        load = {name: word for name, word in record.load.items() if name == "digest"}
        yield path.parent, replace(record, load=load, plan=[], metrics=record.metrics | {"history": rows})


def _is_read(key: str) -> bool:
    return key == "epoch" or key.startswith("val/")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): give another folder, report_dir=…") from None
