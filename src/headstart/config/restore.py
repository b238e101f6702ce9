"""From the plain dict in a record back to the dataclasses it came from."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from omegaconf import OmegaConf

from headstart.config.plain import escaped
from headstart.config.schemas import NODES, SCHEMAS
from headstart.errors import UserError

Node = TypeVar("Node")


def restore(group: str, values: dict[str, Any]) -> Any:
    """The dataclass of `group` (or of a node that is no group) whose fields are the keys of `values`.

    Nothing named in the record is imported: the candidates are those of `config/schema/`. A setting that an older
    version did not have has its default. Raises `UserError` when none fits, as in a record of a later version.
    """
    candidates = {group: NODES[group]} if group in NODES else SCHEMAS[group]
    lacking = {
        name: names - set(values)
        for name, schema in candidates.items()
        if set(values) <= (names := {field.name for field in dataclasses.fields(schema)})
    }
    # Some have the same settings: then the one that the values name.
    named = next((str(values[key]) for key in ("architecture", "kind", "format") if key in values), None)
    for name in sorted(lacking, key=lambda name: (name != named, len(lacking[name]))):
        node = _merged(candidates[name], values)
        if not any(OmegaConf.is_missing(node, setting) for setting in lacking[name]):
            return OmegaConf.to_object(node)
    raise UserError(
        f"The record's settings of {group} ({', '.join(sorted(values))}) are not those of this version of Headstart: "
        "evaluate the run with the version that trained it (record.json, environment)."
    )


def restore_node(schema: type[Node], values: dict[str, Any]) -> Node:
    """That dataclass, where there is but one that `values` can be of; what they lack has its default."""
    return OmegaConf.to_object(_merged(schema, values))  # pyright: ignore[reportReturnType]


def _merged(schema: type, values: dict[str, Any]) -> Any:
    return OmegaConf.merge(OmegaConf.structured(schema), escaped(values))
