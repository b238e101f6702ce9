"""The shipped configuration, composed as the command line does."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import hydra
import pytest
from omegaconf import DictConfig

from headstart.conf_path import conf_dir
from headstart.config.resolve import register

Compose = Callable[..., DictConfig]
COMPOSED = pytest.StashKey[dict[tuple[str, ...], DictConfig]]()


@pytest.fixture
def compose(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Compose]:
    """`compose(*overrides, folder=…)`: `folder` as with `--config-dir`."""
    monkeypatch.delenv("HEADSTART_DATA", raising=False)
    register()
    cache: dict[tuple[str, ...], DictConfig] = request.config.stash.setdefault(COMPOSED, {})
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):

        def composed(*overrides: str, name: str = "train", folder: Path | None = None) -> DictConfig:
            search = [f"hydra.searchpath=[file://{folder}]"] if folder else []
            key = (name, *overrides, *search)
            if key not in cache:
                cache[key] = hydra.compose(name, [*overrides, *search])
            return copy.deepcopy(cache[key])

        yield composed
