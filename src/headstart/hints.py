"""What a mistake of the user is answered with: the message without what Hydra adds, and what was probably meant."""

from __future__ import annotations

import difflib
import re
from typing import Any

from headstart.errors import UserError
from headstart.quoting import advice
from headstart.visible import masked, visible


def message(error: BaseException) -> str:
    """The message with the cause that Hydra wraps, each line once, and none that another quotes."""
    lines: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        said = "\n".join([str(seen), *getattr(seen, "__notes__", [])])
        lines += [line for line in said.splitlines() if line.strip() and not any(line in known for known in lines)]
        seen = seen.__cause__
    kept = "\n".join(line for line in lines if not any(word in line for word in _OF_HYDRA))
    return masked(visible(kept + _hint(error)))


_OF_HYDRA = (
    "object_type=",
    "reference_type=",
    "To append to your",
    "full_key:",
    "Config search path",
    "provider=",
    "schema_",
)
"""In lines that tell the user nothing, or advise what we refuse."""


def _hint(error: BaseException) -> str:
    """Did you mean …, for a misspelt choice, which Hydra names together with the choices there are."""
    if "@source." in str(error) and not isinstance(error, UserError):
        return (
            "\nOnly source=pretrained, and sources made of it, are runs with groups of their own. In a study of "
            "several sources each needs a file: conf/source/<name>.yaml, as conf/source/voc2007_1000.yaml."
        )
    if "No match in the defaults list" in str(error):
        return "\nIt is no choice here; --help lists those there are."
    available = getattr(error, "options", None)
    missing = getattr(error, "missing_cfg_file", None)
    if available and missing:
        if hint := _launcher_hint(str(missing)):
            return hint
        known = [str(option) for option in available if not str(option).startswith("schema_")]
        return did_you_mean(str(missing).rpartition("/")[2], known)
    return _null_hint(str(error)) or _key_hint(error) or _quoting_hint(error)


def _null_hint(message: str) -> str:
    """For the word that other programs have for it."""
    found = re.search(r"Error merging override (dataset\.m(?:in|ax)_size|model\.anchor_scale)=auto", message)
    if re.search(r"Error merging override model\.anchors=(?:auto|kmeans)", message):
        return "\nmodel.anchors=null finds nine from the data, by k-means."
    return f"\n{found[1]}=null finds a number from the data." if found else ""


def _quoting_hint(error: BaseException) -> str:
    """How to type a value that Hydra's grammar cannot read, or takes for several."""
    if type(error).__name__ == "InterpolationKeyError":
        return "\n${…} refers to another setting. Where it is part of a name, write \\${…}, and quote it for the shell."
    word = getattr(error, "override", None) or _ambiguous(str(error))
    return f"\n{found}" if word and (found := advice(word)) else ""


def _ambiguous(message: str) -> str | None:
    """The override in Hydra's message about a list without -m; it is nowhere else."""
    found = re.search(r"Ambiguous value for argument '(.*)'$", message, re.MULTILINE)
    return found[1] if found else None


def _launcher_hint(missing: str) -> str:
    """For a launcher that is not installed."""
    group, _, name = missing.rpartition("/")
    if group != "hydra/launcher":
        return ""
    if name == "joblib":
        return "\nhydra/launcher=joblib is not offered: leave it out, and set study.jobs=N to run N cells at a time."
    if name not in _LAUNCHER_EXTRAS:
        return ""
    return f"\nhydra/launcher={name} needs a further package: pip install 'headstart[{_LAUNCHER_EXTRAS[name]}]'"


_LAUNCHER_EXTRAS = {"submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray"}


def _key_hint(error: BaseException) -> str:
    """Did you mean …, for a misspelt key of a node we own."""
    cause: BaseException | None = error
    while cause is not None:
        key = getattr(cause, "key", None)
        kind = getattr(cause, "object_type", None)
        fields = getattr(kind, "__dataclass_fields__", None)
        if str(key) == "True" and fields is not None and "on" in fields:
            return '\nYAML reads a bare on: as true; write it in quotes, "on":.'
        if key is not None and fields is not None and key not in fields:
            if getattr(kind, "__name__", "") == "DatasetConfig":  # what all kinds share: none of them is chosen
                return f"\nNo data set is chosen, dataset=<choice>. {_OF_A_RUN}"
            near = did_you_mean(str(key), fields) or did_you_mean(_overridden(error).rpartition(".")[2], fields)
            return near or f"\nThe settings there: {', '.join(fields)}."
        cause = cause.__cause__ or cause.__context__
    return ""


_OF_A_RUN = "Of the run in headstart evaluate run=… it is root=<folder>."


def _overridden(error: BaseException) -> str:
    """The setting as it was typed, which only Hydra's message holds: of a run, dataset.root is evaluate's root."""
    found = re.match(r"Could not override '([^']*)'", str(error))
    return found[1] if found else ""


def did_you_mean(word: str, choices: Any) -> str:
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"\nDid you mean {near[0]!r}?" if near else ""
