"""DictConfig -> RunConfig: the one door between Hydra and everything else. Imports nothing heavy."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from headstart.config import reach
from headstart.config.checks import check
from headstart.config.plain import plain
from headstart.config.schema import (
    CompareConfig,
    ConvertConfig,
    DoctorConfig,
    EvaluateConfig,
    ExportConfig,
    LookConfig,
    PredictConfig,
    PushConfig,
    ReportConfig,
    RescoreConfig,
    RunConfig,
    SourcesConfig,
)
from headstart.config.schemas import SCHEMAS
from headstart.errors import UserError

T = TypeVar("T")


def register() -> None:
    """Puts every schema where the defaults lists of `conf/` look for it, makes `${folder_name:root}` known to them, and
    lets overrides reach all that a schema may hold."""
    OmegaConf.register_new_resolver("folder_name", _folder_name_of, replace=True)
    reach.install()
    store = ConfigStore.instance()
    store.store(name="train_schema", node=RunConfig)
    store.store(name="evaluate_schema", node=EvaluateConfig)
    store.store(name="compare_schema", node=CompareConfig)
    store.store(name="doctor_schema", node=DoctorConfig)
    store.store(name="convert_schema", node=ConvertConfig)
    store.store(name="report_schema", node=ReportConfig)
    store.store(name="look_schema", node=LookConfig)
    store.store(name="sources_schema", node=SourcesConfig)
    store.store(name="rescore_schema", node=RescoreConfig)
    store.store(name="predict_schema", node=PredictConfig)
    store.store(name="push_schema", node=PushConfig)
    store.store(name="export_schema", node=ExportConfig)
    for group, schemas in SCHEMAS.items():
        for name, node in schemas.items():
            store.store(group=group, name=f"schema_{name}", node=node)


def _folder_name_of(key: str, *, _parent_: DictConfig) -> str:
    """The folder that the setting beside it names: what a data set of one's own is called by itself.

    Empty where that is not set: then that one is asked for, and not the name.
    """
    return "" if OmegaConf.is_missing(_parent_, key) else folder_name(str(_parent_[key]))


def folder_name(path: str) -> str:
    """The last part of `path`, fit for the name of a run: `my/new photos/` is `new_photos`."""
    last = os.path.basename(os.path.abspath(os.path.expanduser(path)))
    return re.sub(r"[^\w.-]+", "_", last).strip("._-") or "data"


def resolve(cfg: DictConfig) -> RunConfig:
    """The typed configuration of one run. Raises `UserError` for what is missing or does not go together."""
    config = typed(cfg, RunConfig)
    check(config)
    return config


def _expand_home(config: RunConfig) -> None:
    """`~` in what the user typed; a shell leaves it in `output_dir=~/runs`."""
    typed_paths = (config, "output_dir"), (config, "data_dir"), (config.source, "path"), (config.study, "sources_dir")
    for node, key in typed_paths:
        if isinstance(value := getattr(node, key, None), str):
            setattr(node, key, os.path.expanduser(value))


def typed(cfg: DictConfig, schema: type[T]) -> T:
    """`cfg` as an object of `schema`: every setting given, and none that the schemas do not know."""
    if unknown := sorted(_unknown(cfg)):
        raise UserError("\n".join(unknown))
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        needed = " ".join(f"{key}=…" for key in missing)
        raise UserError(f"Not set: {', '.join(missing)}. Give a value on the command line: {needed}")
    config = OmegaConf.to_object(cfg)
    assert isinstance(config, schema)
    if isinstance(config, RunConfig):
        _expand_home(config)
    return config


def _unknown(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    """What `+key=value` put into our nodes: Hydra lets it in, and nothing would read it."""
    for key in cfg:
        name = f"{prefix}{key}"
        fields = getattr(OmegaConf.get_type(cfg), "__dataclass_fields__", None)
        if fields is not None and key not in fields:
            near = difflib.get_close_matches(str(key), list(fields), n=1)
            yield f"{name}: there is no such setting." + (f" Did you mean {near[0]!r}?" if near else "")
        elif not OmegaConf.is_missing(cfg, key) and isinstance(cfg._get_node(key), DictConfig):
            node = cfg[key]
            if node is not None:
                yield from _unknown(node, f"{name}.")


def resolved_dict(config: RunConfig) -> dict[str, Any]:
    """The configuration in plain Python types: for the record, the hash of the run, and the loggers."""
    values = plain(config)
    assert isinstance(values, dict)
    return values
