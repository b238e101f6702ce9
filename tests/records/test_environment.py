"""The environment explains a difference and names nobody."""

import getpass
import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from headstart.records.environment import environment

REPOSITORY = Path(__file__).resolve().parents[2]


def test_versions_are_those_that_are_installed() -> None:
    found = environment()
    assert found["packages"]["torch"] == version("torch")
    assert found["packages"]["lightning"] == version("lightning")
    assert found["python"] == platform.python_version()
    assert found["cores"] >= 1


def test_the_commit_is_that_of_the_checkout() -> None:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not in a git checkout")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert environment()["commit"] == head.stdout.strip()


def test_it_names_neither_the_machine_nor_the_user_nor_a_folder() -> None:
    text = json.dumps(environment())
    assert platform.node() not in text
    assert str(REPOSITORY) not in text
    assert str(Path.home()) not in text
    assert f'"{getpass.getuser()}"' not in text
