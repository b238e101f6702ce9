"""Where the time of a run went, as a table and a picture. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure
from rich.table import Table

from headstart.reporting.plots import COLOURS


def profile_table(seconds: Mapping[str, float]) -> Table:
    whole = sum(seconds.values())
    table = Table(title="Where the time of the fit went")
    table.add_column("section")
    table.add_column("seconds", justify="right")
    table.add_column("share", justify="right")
    for name, spent in seconds.items():
        table.add_row(name, f"{spent:.2f}", f"{spent / whole:.1%}")
    table.add_row("all", f"{whole:.2f}", "")
    return table


def plot_profile(seconds: Mapping[str, float], path: Path) -> None:
    """A bar a section, as a PNG."""
    figure = Figure(figsize=(7, 0.4 * len(seconds) + 1), layout="constrained")
    axes = figure.subplots()
    names = list(seconds)[::-1]
    bars = axes.barh(names, [seconds[name] for name in names], color=COLOURS[0], alpha=0.6, height=0.6)
    axes.bar_label(bars, [f"{seconds[name]:.1f}" for name in names], padding=3)
    axes.set(title="where the time of the fit went", xlabel="seconds")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100)
