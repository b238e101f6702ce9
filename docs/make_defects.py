"""Writes docs/defects.md from the table of kinds and the corpus of the tests: python docs/make_defects.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `tests`

from headstart.config.kinds import KINDS, Action, Kind
from tests.corpus.cases import CASES, REFUSED, Case

PAGE = Path(__file__).parent / "defects.md"
HEAD = """# What can be wrong with a data set

Written by `docs/make_defects.py` from `src/headstart/config/kinds.py` and `tests/corpus/cases.py`.

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


CORPUS = """
## What becomes of a broken data set

Each line is a test: the data set is drawn, and goes through `headstart doctor` and `headstart train`
(`tests/corpus/test_corpus.py`). Numbers are how often the kind is found; `refused` alone is a data set that cannot be
read at all. `unused_…` are files that are not used. Without a setting in `dataset.on`:

| format | what is broken | the doctor finds | its exit code | training |
|---|---|---|---|---|
"""


def page() -> str:
    kinds = "".join(f"{_row(name, kind)}\n" for name, kind in KINDS.items())
    return HEAD + kinds + CORPUS + "".join(f"{_corpus_row(case)}\n" for case in CASES)


def _corpus_row(case: Case) -> str:
    found = ", ".join(f"{count} `{kind}`" if kind != "refused" else "`refused`" for kind, count in case.kinds.items())
    return f"| {case.format} | {case.what} | {found or 'nothing'} | {case.exit_code} | {_training(case)} |"


_WRITTEN = {"split_overlap": "left out of train"}
"""Of kinds that another setting than `dataset.on` decides."""


def _training(case: Case) -> str:
    """What it does about each kind that is not merely kept as it is."""
    if case.train == REFUSED:
        return "refused"
    done = {
        kind: _WRITTEN.get(kind) or KINDS[kind].done(KINDS[kind].actions[0]) for kind in case.kinds if kind in KINDS
    }
    return "; ".join(dict.fromkeys(done.values())) or "trains"


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
