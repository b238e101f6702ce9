"""Where the time of a run went, as a table and a picture. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.table import Table

from headstart.reporting.plots import COLOURS


def profile_table(cost: Mapping[str, Any]) -> Table:
    """Of a record's `cost`."""
    seconds, of_gpu = cost["profile"], cost.get("gpu_profile", {})
    whole = sum(seconds.values())
    table = Table(title="Where the time of the fit went")
    table.add_column("section")
    for name in ("seconds", "share", *(["GPU seconds"] if of_gpu else [])):
        table.add_column(name, justify="right")
    for name, spent in seconds.items():
        table.add_row(name, f"{spent:.2f}", f"{spent / whole:.1%}", *_cell(of_gpu.get(name, 0.0), of_gpu))
    table.add_row("all", f"{whole:.2f}", "", *_cell(sum(of_gpu.values()), of_gpu))
    if of_gpu:
        table.caption = f"The GPU had work in at most {cost['gpu_share']:.0%} of training; gaps between kernels count."
    return table


def _cell(spent: float, of_gpu: Mapping[str, float]) -> list[str]:
    return [f"{spent:.2f}"] if of_gpu else []


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
