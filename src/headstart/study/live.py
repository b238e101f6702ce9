"""What the user sees of a study: a table that keeps up in a terminal, a line per event elsewhere. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from headstart.say import SafeConsole
from headstart.study.places import Places
from headstart.study.pool import Job

console = SafeConsole(soft_wrap=True, highlight=False)


class View:
    """Told of every change, it shows the study; used as a context it gives the terminal back at the end."""

    def __init__(self, jobs: Sequence[Job], places: Places, best_of: dict[str, str]) -> None:
        self.jobs, self.places = jobs, places
        self.best_of = best_of
        """Label of a job -> its data set: what is best is best of one."""
        self.live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> View:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def tell(self, job: Job | None) -> None:
        """`job` has changed; None: time has passed."""
        if job is not None and (line := _event(job)):
            console.print(Text(f"{self._place(job)}{line}", style="red" if job.status == "failed" else ""))
        if self.live:
            self.live.update(self._table())

    def _place(self, job: Job) -> str:
        done = sum(other.is_done for other in self.jobs)
        return f"[{done}/{len(self.jobs)}] " if job.is_done else ""

    def _table(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for job in self.jobs:
            if job.status == "running":
                table.add_row("  " + job.label, _progress(job), clock(job.seconds or 0))
        return Group(self._counts(), table, *self._best())

    def _counts(self) -> str:
        counted = {status: sum(job.status == status for job in self.jobs) for status in _SHOWN}
        parts = [f"{number} {status}" for status, number in counted.items() if number]
        left = seconds_left(self.jobs, self.places.number)
        return " · ".join([*parts, *([f"about {clock(left)} left"] if left is not None else [])])

    def _best(self) -> list[str]:
        best: dict[str, Job] = {}
        for job in self.jobs:
            name = self.best_of.get(job.label)
            if name and job.value is not None and (name not in best or job.value > (best[name].value or 0)):
                best[name] = job
        return [f"best on {name}: {job.value:.3f}  {job.label}" for name, job in sorted(best.items())]


_SHOWN = ("finished", "failed", "stopped", "running", "elsewhere", "waiting")


def _event(job: Job) -> str:
    label = job.label
    if job.status == "running":
        return f"started   {label}"
    if job.status == "elsewhere":
        return f"another process has it: {label}"
    if job.status == "finished":
        value = f"{_name(job)} {job.value:.3f}" if job.value is not None else f"no {_name(job)}"
        how = "was finished" if job.reason else clock(job.seconds or 0)
        return f"finished  {label}  {value}, {how}"
    if job.status == "failed":
        return f"failed    {label}  {job.reason}"
    return f"stopped   {label}" if job.status == "stopped" else ""


def _progress(job: Job) -> str:
    if not job.history:
        return "starting"
    row = job.history[-1]
    value = f"  {_name(job)} {row[job.monitor]:.3f}" if job.monitor in row else ""
    return f"epoch {row['epoch']:.0f}/{job.epochs or '?'}{value}"


def _name(job: Job) -> str:
    metric = job.monitor.rpartition("/")[2]
    return "mAP" if metric == "map" else metric


def seconds_left(jobs: Sequence[Job], places: int) -> float | None:
    """From what finished jobs took, those of the same kind where there are any; None before the first one, and when
    nothing is left."""
    took: dict[str, list[float]] = {}
    for job in jobs:
        if job.status == "finished" and job.seconds:
            took.setdefault(job.kind, []).append(job.seconds)
    if not took or all(job.is_done for job in jobs):
        return None
    everything = [seconds for of_kind in took.values() for seconds in of_kind]
    left = 0.0
    for job in jobs:
        if not job.is_done:
            known = took.get(job.kind, everything)
            spent = job.seconds or 0.0 if job.status == "running" else 0.0
            left += max(0.0, sum(known) / len(known) - spent)
    return left / min(places, sum(not job.is_done for job in jobs))


def clock(seconds: float) -> str:
    """`0:42`, `1:03:20`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
