"""The cells of a study, each as a process of its own: no cell can spoil another, or end the study."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from headstart.config.resolve import resolved_dict, typed
from headstart.config.schema import DatasetConfig, RunConfig
from headstart.errors import UserError
from headstart.records.record import RunRecord
from headstart.runs.attempt import choices, record_in
from headstart.runs.from_data import Known, knowing, with_numbers
from headstart.runs.identity import flat
from headstart.runs.idle import idle_words
from headstart.runs.inputs import Tree, same_inputs, tree_stamp
from headstart.runs.pretrained import check_all, check_all_files, folder_of, source_runs
from headstart.study.cells import CellResult, Watch
from headstart.study.command import Command, command_of, labels
from headstart.study.live import View, console
from headstart.study.places import Places, check_jobs, places_for
from headstart.study.pool import Job, Pool, finished_record, log_of


@dataclass(frozen=True)
class Cell:
    """One combination."""

    label: str
    config: RunConfig
    command: Command
    lines: tuple[str, ...] = ()
    """What was left to the data, and is found."""


def run_cells(
    context: HydraContext,
    config: DictConfig,
    job_overrides: Sequence[Sequence[str]],
    watch: Watch | None = None,
    pool: Callable[[Sequence[Job], Places, str, Callable[[Job | None], None]], Pool] | None = None,
) -> list[CellResult]:
    """Runs every cell, `study.jobs` at a time, and before them the sources they start from.

    A misspelt choice in any cell ends the study before the first one starts; a cell that fails ends nothing. `pool`
    says where they run; None: as processes of this machine.
    """
    check_jobs(config.study.jobs)
    named = zip(labels(job_overrides, config.hydra.overrides.task), job_overrides, strict=True)
    cells = [
        Cell(label, compose_cell(context, config, overrides), command_of(config.hydra, overrides))
        for label, overrides in named
    ]
    _say_idle(cells)
    compose, know = partial(compose_cell, context, config), knowing()
    ready = dict(enumerate(_ready(cell, compose, know) for cell in cells))
    runnable = {i: cell for i, cell in ready.items() if isinstance(cell, Cell)}
    refused = {i: result for i, result in ready.items() if isinstance(result, CellResult)}
    for line in dict.fromkeys(line for cell in runnable.values() for line in cell.lines):
        console.print(line, markup=False)
    if refused:
        console.print(f"{len(refused)} of {len(cells)} cells cannot be run; the end says why.")
    jobs, runs = make_jobs(runnable, watch)
    to_run = [job.processes for job in runs if job.rerun or not finished_record(job.folder)]
    places = places_for(config.study.jobs, to_run, partial(console.print, markup=False))
    with View(runs, places, {job.label: cells[i].config.dataset.name for i, job in jobs.items()}) as view:
        (pool or Pool)(runs, places, study_name(config), view.tell).run()
    return [refused[i] if i in refused else _result(runnable[i], jobs[i]) for i in ready]


def _say_idle(cells: Sequence[Cell]) -> None:
    """Each setting that was typed and has no effect, once."""
    lines = Counter(
        line for cell in cells for line in idle_words(cell.command.overrides, flat(resolved_dict(cell.config)))
    )
    for line, number in lines.items():
        console.print(line + (f" (in {number} of {len(cells)} cells)" if number < len(cells) else ""))


def make_jobs(cells: dict[int, Cell], watch: Watch | None) -> tuple[dict[int, Job], list[Job]]:
    """The job of each cell, and all jobs in their order: a source stands before the first cell that needs it."""
    jobs: dict[int, Job] = {}
    sources: dict[Path, Job] = {}
    order: list[Job] = []
    tree = cache(tree_stamp)  # cells share their data: it is looked at once
    for i, cell in cells.items():
        chain = [cell.config, *source_runs(cell.config)]
        folders = [folder_of(config) for config in chain]
        for level in range(len(chain) - 1, 0, -1):
            if folders[level] not in sources:
                sources[folders[level]] = _job(cell, level, chain[level], folders, tree)
                order.append(sources[folders[level]])
        jobs[i] = _job(cell, 0, cell.config, folders, tree)
        if watch is not None:
            jobs[i].watch = lambda rows, i=i, watch=watch: watch(i, rows)
        order.append(jobs[i])
    return jobs, order


def _job(cell: Cell, level: int, config: RunConfig, folders: list[Path], tree: Tree) -> Job:
    return Job(
        label=cell.label if level == 0 else f"source {folders[level].name}",
        words=cell.command.words(only_source=level),
        folder=folders[level],
        overrides=cell.command.overrides,
        needs=folders[level + 1] if level + 1 < len(folders) else None,
        processes=config.trainer.devices,
        epochs=config.trainer.max_epochs,
        monitor=config.monitor.name,
        rerun=config.rerun,
        unchanged=partial(same_inputs, config, folders[level], tree),
        kind=f"{level} {config.dataset.name} {config.dataset.fraction} {config.strategy.name}",
        is_source=level > 0,
    )


def compose_cell(context: HydraContext, config: DictConfig, overrides: Sequence[str]) -> RunConfig:
    """Whether or not the cell's settings go together; what is misspelt is an error."""
    composed = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(composed):
        del composed["hydra"]
    return typed(composed, RunConfig)


def _ready(
    cell: Cell, compose: Callable[[Sequence[str]], RunConfig], know: Callable[[DatasetConfig], Known]
) -> Cell | CellResult:
    """The cell with numbers for what it leaves to the data; its end where it cannot be run at all, which its record
    says too."""
    status = "not applicable"
    try:
        check_all(cell.config)
        status = "failed"
        check_all_files(cell.config)
        numbers = with_numbers(cell.config, lambda found: compose([*cell.command.overrides, *found]), know)
    except UserError as error:
        folder = folder_of(cell.config)
        _record_refusal(cell.config, folder, status, error)
        return CellResult(cell.command.overrides, folder, status, str(error))
    if not numbers.words:
        return cell
    command = replace(cell.command, found=numbers.words)
    return _ready(Cell(cell.label, numbers.config, command, numbers.lines), compose, know)


def _record_refusal(config: RunConfig, folder: Path, status: str, error: UserError) -> None:
    """So that a comparison can say why the cell is not there; a run that got further keeps its record."""
    path = folder / "record.json"
    known = record_in(folder)
    if path.exists() and (known is None or known.status not in ("failed", "not_applicable")):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    what = {"type": type(error).__name__, "message": str(error)}
    record = replace(  # what it was begun with stays known: it may have a checkpoint
        known or RunRecord(),
        status=status.replace(" ", "_"),
        choices=choices(config),
        config=resolved_dict(config),
        error=what,
    )
    record.write(path)


def _result(cell: Cell, job: Job) -> CellResult:
    return CellResult(cell.command.overrides, job.folder, job.status, job.reason, job.value)


def study_name(config: DictConfig) -> str:
    """The same for the same command, and for all of its cells."""
    words = sorted(word for word in config.hydra.overrides.task if not word.startswith("study."))
    return f"study-{hashlib.sha256(repr(words).encode()).hexdigest()[:8]}"


def _reasons(chosen: Sequence[tuple[str, CellResult]]) -> Iterator[str]:
    """Each reason, and below it the cells that have it, with the logs of those that failed."""
    for reason in dict.fromkeys(cell.reason for _, cell in chosen if cell.reason):
        yield f"  {reason}"
        for label, cell in ((label, cell) for label, cell in chosen if cell.reason == reason):
            log = log_of(cell.folder)
            yield f"    {label}" + (f" (log: {log})" if cell.status == "failed" and log.exists() else "")


def summarise(cells: Sequence[CellResult]) -> None:
    """How many cells ended how, and why those that did not finish: each reason once, with its cells.

    Raises `UserError` where one failed.
    """
    console.rule("study", align="left")
    named = list(zip(labels([cell.overrides for cell in cells]), cells, strict=True))
    for status in ("finished", "stopped", "not applicable", "failed"):
        chosen = [(label, cell) for label, cell in named if cell.status == status]
        if chosen or status != "stopped":
            console.print(f"{len(chosen)} {status}")
        for line in _reasons(chosen) if status != "finished" else ():
            console.print(line)
    if sum(cell.status == "finished" for cell in cells) > 1:
        console.print(f"What they found: headstart compare {cells[0].folder.parent}")
    failed = sum(cell.status == "failed" for cell in cells)
    if failed:
        raise UserError(
            f"{failed} of {len(cells)} cells failed; the same command runs those again and skips the rest. One that "
            "fails each time starts anew with rerun=true, given to it alone."
        )
