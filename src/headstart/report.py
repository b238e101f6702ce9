"""`headstart report`: what each run writes for people to look at, from its files alone. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from headstart.analysis.summary import scored_splits
from headstart.config.schema import ReportConfig
from headstart.errors import UserError
from headstart.records.record import RunRecord, record_files
from headstart.reporting.run_report import write_report
from headstart.say import say


def report(config: ReportConfig) -> list[Path]:
    """Writes analysis.json and report.html of the run, or of every run below the folder.

    Raises `UserError` at the end where a file of a run cannot be read or written; the others have their pages then.
    """
    records = record_files(Path(config.folder).expanduser())
    if not records:
        raise UserError(f"folder={config.folder}: there is no record.json in it or below; name a folder with runs.")
    written, problems = [], []
    for path in records:
        try:
            record = RunRecord.read(path)
            written.append(write_report(path.parent, record, scored_splits(path.parent, record)))
            say(f"Written: {written[-1]}")
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    return written
