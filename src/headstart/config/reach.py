"""Overrides that reach below what is not there yet: `strategy.pull.strength=10` where the strategy has no pull.

Hydra sets a value with `OmegaConf.update`, which breaks at a node that is null, whatever the schema says it may be
(omegaconf 2.3: an AssertionError), and adds no name to a mapping. Here the schema decides: a part gets its defaults, a
mapping the name, and then the value is set as ever.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from headstart.config.schema import LoggerConfig
from headstart.errors import UserError

CLOSED = ("lr",)
"""Mappings that take no further names: of an optimizer's rate nobody would tell that the name is misspelt."""

_set = OmegaConf.update


def install() -> None:
    """From now on in this process: for the command line, the cells of a study, and `hydra.compose`."""
    OmegaConf.update = staticmethod(update)


def update(cfg: Any, key: str, value: Any = None, *, merge: bool = True, force_add: bool = False) -> None:
    """As `OmegaConf.update`. Raises `UserError` for a setting of a logger that was not chosen."""
    names = key.split(".")
    _make_way(cfg, names if isinstance(value, dict) else names[:-1])
    _set(cfg, key, value, merge=merge, force_add=force_add)


def _make_way(node: Any, names: Sequence[str]) -> None:
    """Makes the nodes that `names` lead through, as far as the schema knows them; of others Hydra tells."""
    values: Any = None
    for name in names:
        schema = OmegaConf.get_type(node)
        hint = _unwrapped(get_type_hints(schema).get(name)) if dataclasses.is_dataclass(schema) else values
        if hint is None or OmegaConf.is_missing(node, name) or OmegaConf.is_interpolation(node, name):
            return
        if dataclasses.is_dataclass(hint) and node.get(name) is None:
            _refuse_unchosen(schema, name)
            node[name] = hint
        node = node.get(name)
        if not isinstance(node, DictConfig):
            return
        if get_origin(hint) is dict and name not in CLOSED:
            values = get_args(hint)[1]
            OmegaConf.set_struct(node, False)


def _unwrapped(hint: Any) -> Any:
    """`X` of `Optional[X]`."""
    arguments = get_args(hint)
    return arguments[0] if type(None) in arguments else hint


def _refuse_unchosen(schema: Any, name: str) -> None:
    if schema is LoggerConfig:
        raise UserError(
            f"logger.{name}.…: this run has no {name}. Choose it with logger={name}, or beside others with "
            f"logger='[csv,{name}]'."
        )
