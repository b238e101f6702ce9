"""Pages that are one file each and open offline: templates, styles and scripts lie in `page_files/`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

FILES = Path(__file__).parent / "page_files"
MOST_POINTS = 60
"""Of a training curve: more would not be seen."""


def rendered(
    template: str, scripts: Sequence[str], data: Any, functions: Mapping[str, Callable[..., Any]], **values: Any
) -> str:
    """The page `template` with its style, its scripts, `data` for them, and what the template may ask."""
    environment = Environment(
        loader=FileSystemLoader(FILES),
        autoescape=True,  # names come from data
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= functions
    return environment.get_template(template).render(
        **values,
        style=(FILES / "report.css").read_text(encoding="utf-8"),
        scripts=[(FILES / script).read_text(encoding="utf-8") for script in scripts],
        data=_json(data),
    )


def _json(value: Any) -> str:
    """Safe inside a script element, whatever the names."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def number(value: float | None) -> float | None:
    """For a plot: short, and null for what is missing."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def thinned(rows: list[tuple[int, float]]) -> list[list[float | None]]:
    """Of a curve as many points as are seen, the last among them."""
    step = max(1, math.ceil(len(rows) / MOST_POINTS))
    return [[x, number(y)] for x, y in rows[::-step][::-1]]
