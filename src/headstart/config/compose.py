"""A run's configuration without the command line: for the demo, benchmarks and tests."""

from __future__ import annotations

from collections.abc import Sequence

import hydra

from headstart.conf_path import conf_dir
from headstart.config.resolve import register, resolve
from headstart.config.schema import RunConfig


def compose(overrides: Sequence[str]) -> RunConfig:
    """The configuration that `headstart train` would run with `overrides`."""
    register()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        return resolve(hydra.compose("train", list(overrides)))
