"""The YAML files of `source` and `strategy` say what their schema knows, all of them."""

import re
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from headstart.config.schema import SourceKind
from headstart.config.schemas import SCHEMAS

CONF = Path(__file__).resolve().parents[2] / "conf"
RUNS = ("pretrained", "voc2007_1000")
"""Sources that are runs, with groups of their own; tests/study/test_pretrained.py has them."""
FILES = sorted(
    path for group in ("source", "strategy") for path in (CONF / group).glob("*.yaml") if path.stem not in RUNS
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_each_file_fits_its_schema_and_says_where_it_comes_from(path):
    content = OmegaConf.load(path)
    assert isinstance(content, DictConfig)
    schema, own = content.pop("defaults")
    node = OmegaConf.merge(SCHEMAS[path.parent.name][schema.removeprefix("schema_")], content)
    assert own == "_self_"
    assert node.name == path.stem
    assert path.read_text().startswith("# ")
    assert re.search(r"et al\.| & ", path.read_text())


def test_there_is_a_file_for_each_kind_of_source():
    assert {path.stem for path in FILES if path.parent.name == "source"} == set(SourceKind.__members__) - {"pretrained"}


@pytest.mark.parametrize("name", [path.stem for path in FILES if path.parent.name == "strategy"])
def test_strategies_have_a_rate_for_each_optimizer_we_ship(name):
    assert set(OmegaConf.load(CONF / "strategy" / f"{name}.yaml").lr) == set(SCHEMAS["optimizer"])
