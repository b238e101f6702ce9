"""One table of kinds of defects, and one place that says what is done about each."""

import ast
from pathlib import Path

import pytest

import headstart.data
import headstart.doctor
from headstart.config.kinds import KINDS, Action
from headstart.data.policy import Policy
from headstart.errors import UserError

FOLDERS = [Path(package.__file__).parent for package in (headstart.data, headstart.doctor)]
SOURCES = {path: ast.parse(path.read_text()) for folder in FOLDERS for path in folder.rglob("*.py")}
REPORTING = ("report", "_report", "Defect", "Odd")


def reported() -> set[str]:
    """The kinds that are named where something is reported."""
    calls = [node for tree in SOURCES.values() for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = [call for call in calls if (getattr(call.func, "attr", None) or getattr(call.func, "id", "")) in REPORTING]
    first = [argument for call in named for argument in call.args[:2] if isinstance(argument, ast.Constant)]
    return {argument.value for argument in first if argument.value.isidentifier()}


def texts() -> set[str]:
    nodes = [node for tree in SOURCES.values() for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {node.value for node in nodes if isinstance(node.value, str)}


def test_every_kind_that_is_reported_has_its_row_and_every_row_is_reported() -> None:
    assert len(reported()) > 15
    assert reported() - KINDS.keys() == set()
    assert KINDS.keys() - texts() == set()


def test_every_row_can_be_obeyed() -> None:
    for name, kind in KINDS.items():
        assert len(set(kind.actions)) == len(kind.actions), name
        assert any(action is not Action.error for action in kind.actions), name
        assert all(kind.done(action) for action in kind.actions), name


def test_what_is_not_said_is_done_as_the_table_has_it_first() -> None:
    policy = Policy({"clipped_box": "skip_box"})
    assert policy.report("empty_box", "a.xml: object 1", "a.jpg") is Action.skip_box
    assert policy.report("clipped_box", "a.xml: object 2") is Action.skip_box
    assert [(defect.action, defect.image) for defect in policy.defects] == [
        ("dropped box", "a.jpg"),
        ("dropped box", ""),
    ]
    policy.check()


def test_what_is_refused_is_refused_together_with_the_remedy() -> None:
    policy = Policy({"empty_box": "error", "wrong_size": "error"})
    for number in range(5):
        assert policy.report("empty_box", f"a.xml: object {number}") is Action.skip_box
    assert policy.report("wrong_size", "b.xml") is Action.keep
    with pytest.raises(UserError) as refused:
        policy.check()
    boxes, size = str(refused.value).splitlines()
    assert boxes.startswith(
        "5 empty_box (a box without area): a.xml: object 0; a.xml: object 1; a.xml: object 2; and 2"
    )
    assert boxes.endswith("go on with dataset.on.empty_box=skip_box or skip_image.")
    assert "dataset.on.wrong_size=keep or skip_image" in size


def test_a_policy_that_refuses_nothing_has_everything_in_its_list() -> None:
    policy = Policy({"empty_box": "error"}, refuses=False)
    policy.report("empty_box", "a.xml: object 1")
    policy.check()
    assert [(defect.kind, defect.action) for defect in policy.defects] == [("empty_box", "refused")]
