"""What is wrong with `dataset.format`, by which a record says which reader it was. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from headstart.config.schema import DatasetConfig


def format_problems(config: DatasetConfig) -> Iterator[str]:
    """It follows from the choice of `dataset`, and nothing else may be set."""
    for field in dataclasses.fields(config):
        said = getattr(config, field.name)
        if field.name == "format" and said != field.default:
            yield (
                f"dataset.format={said}: it is {field.default} here, and is not to be set. Choose another format with "
                f"dataset={said}_folder."
            )
