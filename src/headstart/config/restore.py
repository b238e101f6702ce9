"""From the plain dict in a record back to the dataclasses it came from."""

from __future__ import annotations

import dataclasses
from typing import Any

from omegaconf import OmegaConf

from headstart.config.schema import NODES, SCHEMAS
from headstart.errors import UserError


def restore(group: str, values: dict[str, Any]) -> Any:
    """The dataclass of `group` (or of a node that is no group) whose fields are the keys of `values`.

    Nothing named in the record is imported: the candidates are those of `config/schema/`. Raises `UserError` when
    none fits, as in a record of another version.
    """
    candidates = {group: NODES[group]} if group in NODES else SCHEMAS[group]
    fitting = {
        name: schema
        for name, schema in candidates.items()
        if {field.name for field in dataclasses.fields(schema)} == set(values)
    }
    if fitting:
        # Some architectures have the same settings: then the one that the values name.
        schema = fitting.get(str(values.get("architecture")), next(iter(fitting.values())))
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), values))
    raise UserError(
        f"The record's settings of {group} ({', '.join(sorted(values))}) are not those of this version of Headstart: "
        "evaluate the run with the version that trained it (record.json, environment)."
    )
