"""The configuration in a record gives back the dataclasses that it came from."""

import json
from collections.abc import Callable

import pytest
from omegaconf import DictConfig, OmegaConf

from headstart.conf_path import conf_dir
from headstart.config.plain import plain
from headstart.config.resolve import register
from headstart.config.restore import restore
from headstart.config.schemas import SCHEMAS
from headstart.errors import UserError

Compose = Callable[..., DictConfig]
GROUPS = ("dataset", "model", "backbone", "source", "strategy")
RUNS = ("pretrained", "voc2007_1000")
"""Sources that are runs with groups of their own: nothing restores them, for their folder is what is used."""
CHOICES = [
    (group, path.stem)
    for group in GROUPS
    for path in sorted((conf_dir() / group).glob("*.yaml"))
    if group != "source" or path.stem not in RUNS
]


def config_of(group: str, choice: str) -> DictConfig:
    """The choice's file on its schema: what composing gives for the group."""
    register()
    content = OmegaConf.load(conf_dir() / group / f"{choice}.yaml")
    schema = content.pop("defaults")[0].removeprefix("schema_")
    node = OmegaConf.merge(OmegaConf.structured(SCHEMAS[group][schema]), content)
    root = OmegaConf.create({"data_dir": "data", group: node})
    for key in node:  # not OmegaConf.missing_keys: timm's name is that of its missing architecture
        if OmegaConf.is_missing(node, key) and not OmegaConf.is_interpolation(node, key):
            OmegaConf.update(root, f"{group}.{key}", "given")
    return root[group]


@pytest.mark.parametrize(("group", "choice"), CHOICES, ids=[" ".join(choice) for choice in CHOICES])
def test_a_round_trip_through_json_gives_the_same_object(group: str, choice: str) -> None:
    config = OmegaConf.to_object(config_of(group, choice))
    restored = restore(group, json.loads(json.dumps(plain(config))))
    assert restored == config
    assert type(restored) is type(config)


def test_settings_of_another_version_are_refused_with_a_remedy() -> None:
    values = plain(OmegaConf.to_object(config_of("model", "fcos"))) | {"of_the_future": 1}
    with pytest.raises(UserError, match=r"of_the_future.*the version that trained it"):
        restore("model", values)


@pytest.mark.parametrize("choice", ["bccd", "coco208", "facemask_510", "shapes"])
def test_a_setting_that_an_older_version_did_not_have_has_its_default(choice: str) -> None:
    config = OmegaConf.to_object(config_of("dataset", choice))
    older = {name: value for name, value in plain(config).items() if name not in ("test_fraction", "overlap")}
    restored = restore("dataset", older)
    assert restored == config
    assert type(restored) is type(config)


def test_what_has_no_default_must_be_there() -> None:
    values = plain(OmegaConf.to_object(config_of("dataset", "shapes")))
    del values["num_val"]
    with pytest.raises(UserError, match="the version that trained it"):
        restore("dataset", values)


def test_a_target_in_a_record_is_not_called() -> None:
    with pytest.raises(UserError):
        restore("model", {"_target_": "os.system", "command": "true"})
