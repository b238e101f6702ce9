"""Writes docs/defects.md from the table of kinds: python docs/make_defects.py."""

from pathlib import Path

from headstart.config.kinds import KINDS, Action, Kind

PAGE = Path(__file__).parent / "defects.md"
HEAD = """# What can be wrong with a data set

Written by `docs/make_defects.py` from `src/headstart/config/kinds.py`.

`dataset.on.<kind>=<action>` chooses what is done; without it, the default. Whatever is found is counted in the record
(`dataset.defects`; `dataset.defect_actions` says what was done), and named before training. What is to be refused is
refused together: of each kind the count, the first three, and the remedy. In a YAML file write `"on":` in quotes: bare,
YAML reads it as `true`.

| action | what it does |
|---|---|
| `error` | the data set is refused, before training |
| `skip_box` | the object is not used, its picture is |
| `clip` | the box is cut at the picture's edges |
| `skip_image` | the picture is not used, nor any of its objects |
| `keep` | it is used; where that says something else, the table says what |

| kind | what it is | severity | default | others |
|---|---|---|---|---|
"""


def page() -> str:
    return HEAD + "".join(f"{_row(name, kind)}\n" for name, kind in KINDS.items())


def _row(name: str, kind: Kind) -> str:
    default, *others = [_action(kind, action) for action in kind.actions]
    if kind.setting:
        default, others = "", [f"set with `{kind.setting}`"]
    return f"| `{name}` | {kind.what} | {kind.severity.value} | {default} | {', '.join(others)} |"


def _action(kind: Kind, action: Action) -> str:
    meaning = f" ({kind.kept})" if action is Action.keep and kind.kept != "kept" else ""
    return f"`{action.value}`{meaning}"


if __name__ == "__main__":
    PAGE.write_text(page())
