"""Settings that an older record does not have yet. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

from omegaconf import MISSING

from headstart.config.plain import plain
from headstart.config.schemas import NODES, SCHEMAS


def completed(config: dict[str, Any]) -> dict[str, Any]:
    """`config` of a record, with every setting that came after it at its default: so the run did it."""
    nodes = {name: _node_defaults(name) for name in NODES} | config
    return {name: _filled(name, values) if isinstance(values, dict) else values for name, values in nodes.items()}


def _filled(group: str, values: dict[str, Any]) -> dict[str, Any]:
    inside = values.items() if group == "source" else ()  # a source that is a run has groups of its own
    inner = {name: _filled(name, node) for name, node in inside if isinstance(node, dict)}
    named = next((str(values[key]) for key in ("architecture", "kind", "name") if key in values), "")
    return _defaults(group, frozenset(values), named) | values | inner


def _node_defaults(name: str) -> dict[str, Any]:
    return _defaults(name, frozenset(), "")


@cache
def _defaults(group: str, known: frozenset[str], named: str) -> dict[str, Any]:
    """Of the schema that has most of the keys `known`; of several the one `named`, or the smallest."""
    schemas = SCHEMAS.get(group) or ({group: NODES[group]} if group in NODES else {})
    if not schemas:
        return {}
    fields = {name: {field.name for field in dataclasses.fields(schema)} for name, schema in schemas.items()}
    best = max(schemas, key=lambda name: (len(known & fields[name]), name == named, -len(fields[name])))
    return {field.name: value for field in dataclasses.fields(schemas[best]) if (value := _default(field)) != MISSING}


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return plain(field.default_factory())
    return MISSING if field.default is dataclasses.MISSING else plain(field.default)
