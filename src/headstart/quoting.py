"""Words of the command line as Hydra has to read them: a path stays the text that was typed.

In Hydra's grammar brackets, commas, `=`, `#`, accents and others mean something, or nothing at all. A setting that is
a text in the schema has one reading only, so its value is quoted here, unless Hydra reads just what was typed. Imports
nothing heavy.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, get_args, get_type_hints

from headstart.config.plain import escaped
from headstart.errors import UserError
from headstart.runs.idle import of_run

MULTIRUN = ("-m", "--multirun", "hydra.mode=MULTIRUN")
WITH_FOLDER = ("compare", "report")
"""Verbs that take a folder without its name."""
ALWAYS_QUOTED = ("baseline", "group", "run")
"""Settings whose values look like further settings, or like lists; none of `train`."""

_WORD = re.compile(r"(\+{0,2})([\w.]+)=(.*)", re.DOTALL)


def written_out(verb: str, words: Sequence[str]) -> list[str]:
    """`words` with every value quoted that Hydra would read as something else than the text it is.

    For `compare` and `report`, `outputs/` is `folder=outputs/`; for `evaluate`, `model=x.onnx` is `file=x.onnx`. Raises
    `UserError` where two readings fit.
    """
    keys = text_keys(verb)
    if verb == "evaluate":  # to Hydra `model` is a group of choices
        words = [re.sub(r"^model=", "file=", word) for word in words]
    if verb in WITH_FOLDER:
        words = [_with_folder(word, keys) for word in words]
    sweeps = verb == "train" and any(word in MULTIRUN for word in words)
    root = next((match[3] for word in words if (match := _WORD.fullmatch(word)) and match[2] == "dataset.root"), "")
    exists = _exists_below(os.path.expanduser(root))
    return [_written(word, keys, sweeps, exists) for word in words]


def quoted(text: str) -> str:
    """`text` in Hydra's quotes, which take a backslash for one only where a quote or the end follows."""
    escaped = re.sub(r"(\\*)'", lambda match: 2 * match[1] + r"\'", text)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{trailing * chr(92)}'"


@cache
def text_keys(verb: str) -> frozenset[str]:
    """`dataset.root`, `output_dir` …: the settings of `verb` that are texts."""
    from headstart.config.schemas import SCHEMAS
    from headstart.config.verbs import ROOTS as roots

    groups = SCHEMAS.keys() & get_type_hints(roots[verb])
    of_groups = (key for group in groups for kind in SCHEMAS[group].values() for key in _texts(kind, f"{group}."))
    return frozenset([*_texts(roots[verb], ""), *of_groups])


def _texts(schema: type, prefix: str) -> Iterator[str]:
    for name, hint in get_type_hints(schema).items():
        kind = next((kind for kind in get_args(hint) if type(None) in get_args(hint)), hint)
        if kind is str:
            yield prefix + name
        elif isinstance(kind, type) and dataclasses.is_dataclass(kind):
            yield from _texts(kind, f"{prefix}{name}.")


def _with_folder(word: str, keys: frozenset[str]) -> str:
    """A word that sets nothing names the folder; so does one that only looks as if, where there is such a folder."""
    match = _WORD.fullmatch(word)
    sets = word.startswith("~") or (match is not None and match[2].partition(".")[0] in _heads(keys))
    if word.startswith("-") or (match is not None and sets):
        return word
    is_word = (sets or match is not None) and not os.path.isdir(os.path.expanduser(word))
    return word if is_word else f"folder={quoted(escaped(word))}"


def _heads(keys: frozenset[str]) -> set[str]:
    return {key.partition(".")[0] for key in keys}


def _exists_below(root: str) -> Callable[[str], bool]:
    return lambda text: any(os.path.lexists(os.path.join(base, os.path.expanduser(text))) for base in ("", root))


def _written(word: str, keys: frozenset[str], sweeps: bool, exists: Callable[[str], bool]) -> str:
    match = _WORD.fullmatch(word)
    if match is None or of_run(match[2]) not in keys:
        return word
    plus, key, text = match.groups()
    if text in ("", "null") or not _to_be_quoted(key, text, sweeps, exists):
        return word
    if sweeps and "," in text:
        raise UserError(_two_readings(key, text))
    return f"{plus}{key}={quoted(escaped(text) if exists(text) else text)}"


def _to_be_quoted(key: str, text: str, sweeps: bool, exists: Callable[[str], bool]) -> bool:
    """Whether Hydra reads something else than `text`, and the user cannot have meant that."""
    value, is_sweep = _as_hydra_reads(key, text)
    if key in ALWAYS_QUOTED:
        return text[0] not in "'\"" or exists(text)
    if isinstance(value, str) and value == text:
        return "${" in text and exists(text)
    may_be_meant = is_sweep or (isinstance(value, str) and value.strip() != text.strip())  # a sweep, quotes, escapes
    return exists(text) if may_be_meant else True


def _as_hydra_reads(key: str, text: str) -> tuple[Any, bool]:
    """(value, whether it is a sweep); None where Hydra cannot read it at all."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(f"{key}={text}")
        return override.value(), override.is_sweep_override()
    except HydraException:
        return None, False


def _two_readings(key: str, text: str) -> str:
    return (
        f"{key}={text}: with -m a comma separates the values of a study. Where it is part of one name, quote the name "
        f"within the word: {shown(f'{key}={quoted(text)}')}. For several values quote each: "
        f"{shown(f'{key}={_each_quoted(text)}')}"
    )


def advice(word: str) -> str:
    """How to type a setting that Hydra's grammar cannot read as it was typed; empty for what is no setting."""
    key, equals, text = word.partition("=")
    if not equals:
        return ""
    if " " in key.strip():
        joined = key.replace(" ", "_")
        return f"The name of a setting has no blanks; in the name of a class _ stands for one: {joined}={text}"
    if text.startswith("["):
        each = _each_quoted(text.strip("[]"))
        return f"In a list each text is quoted: {shown(f'{key}=[{each}]')}"
    return f"A text with commas, brackets or signs is quoted within the word: {shown(f'{key}={quoted(text)}')}"


def _each_quoted(text: str) -> str:
    return ",".join(quoted(part) for part in text.split(","))


def shown(word: str) -> str:
    """As it has to be typed in a shell."""
    return '"' + re.sub(r'([\\"$`])', r"\\\1", word) + '"'
