"""A result as the user sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich import box
from rich.table import Table

from headstart.evaluation.coco_map import MapResult


def result_table(result: MapResult, title: str) -> Table:
    """The whole set first, then each class."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("class")
    for name in ("mAP", "AP50", "AP75"):
        table.add_column(name, justify="right")
    table.add_row("all", _number(result.map), _number(result.map_50), _number(result.map_75), end_section=True)
    for name, value in result.per_class.items():
        table.add_row(name, _number(value), _number(result.per_class_50[name]), "")
    return table


def results_table(results: Mapping[str, MapResult], title: str) -> Table:
    """Several beside each other, in the order given: mAP, and of each class; a class that one does not know is left
    empty."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    for name in results:
        table.add_column(name, justify="right")
    for word, key in (("mAP", "map"), ("AP50", "map_50"), ("AP75", "map_75")):
        table.add_row(word, *(_number(getattr(one, key)) for one in results.values()))
    table.add_section()
    for name in dict.fromkeys(name for one in results.values() for name in one.per_class):
        known = (one.per_class.get(name) for one in results.values())
        table.add_row(name, *("" if value is None else _number(value) for value in known))
    return table


def _number(value: float) -> str:
    return "no objects" if math.isnan(value) else f"{value:.4f}"
