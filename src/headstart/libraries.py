"""The libraries of a training, imported without what they would only make use of.

torchmetrics imports matplotlib for plots and scipy for the metrics of sound, timm wandb for its own training program: a
quarter of what all imports cost. To be imported before the rest; who needs those three imports them as ever.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.metadata import PackageNotFoundError
from typing import Any

import lightning_utilities.core.imports

imports: Any = lightning_utilities.core.imports
"""The names that torchmetrics asks are not public."""


class _Absent(MetaPathFinder):
    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        if name in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """As if they were not installed; what is imported already stays."""
    finder, version = _Absent(names), imports._version

    def version_of(name: str) -> str:
        if name in names:
            raise PackageNotFoundError(name)
        return version(name)

    sys.meta_path.insert(0, finder)
    imports._version = version_of  # torchmetrics asks it, and remembers
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        imports._version = version


with _without("matplotlib", "scipy"):
    import torchmetrics  # noqa: F401
with _without("wandb"):
    import timm  # noqa: F401
