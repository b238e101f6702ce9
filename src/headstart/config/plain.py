"""Configuration as plain Python types, for files and loggers."""

from __future__ import annotations

import dataclasses
import re
from enum import Enum
from typing import Any


def plain(value: Any) -> Any:
    """Dataclasses become dicts, enums their values, tuples lists; all the way down."""
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def escaped(value: Any) -> Any:
    """`value` with every `${` in its texts made literal, so that OmegaConf does not look for what it names."""
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda match: 2 * match[1] + r"\${", value) if "${" in value else value
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    return [escaped(item) for item in value] if isinstance(value, list | tuple) else value
