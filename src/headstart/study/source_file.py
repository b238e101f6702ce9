"""A study of several sources, one of them `pretrained`: the file that Hydra needs for it, written from the command.

Settings of a source that is a run (`dataset@source.dataset=…`, `source.trainer.max_epochs=…`) would be set in every
cell, and other sources have none; in a file they are that source's alone. Imports nothing heavy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from headstart.errors import UserError
from headstart.runs.idle import NESTED

FOLDER = "mine"
"""Of one's own configuration, where the command names none."""

_GROUP = re.compile(r"\+?(\w+)@source\.([\w.]+)=(.+)")
_KEY = re.compile(rf"\+*source\.((?:{'|'.join(NESTED)}).+|seed)=(.+)", re.DOTALL)
_SOURCE = re.compile(r"source=(.*,.*)")


def write_for(words: Sequence[str]) -> str:
    """Writes the file for a study's `words`, and says what to type instead; empty where they are no such study.

    Raises `UserError` where another file is in the way.
    """
    sweep = next((match for word in words if (match := _SOURCE.fullmatch(word))), None)
    own = [word for word in words if _GROUP.fullmatch(word) or _KEY.fullmatch(word)]
    if sweep is None or "pretrained" not in sweep[1].split(",") or not own or any(map(_is_sweep, own)):
        return ""
    given = next((words[i + 1] for i, word in enumerate(words[:-1]) if word in ("--config-dir", "-cd")), None)
    name, folder = f"from_{_data_set(own)}", given or FOLDER
    path = Path(folder) / "source" / f"{name}.yaml"
    _write(path, text(own))
    choices = ",".join(name if choice == "pretrained" else choice for choice in sweep[1].split(","))
    rest = [f"source={choices}" if word == sweep[0] else word for word in words if word not in own]
    command = " ".join([*([] if given else ["--config-dir", folder]), *(f"'{w}'" if "[" in w else w for w in rest)])
    return (
        f"source={sweep[1]}: only source=pretrained has {', '.join(own)}, the other sources have not. In a study of "
        f"several sources it needs a file of its own, which was written: {path}. Type: headstart train {command}"
    )


def text(words: Sequence[str]) -> str:
    """The file: groups in its defaults list, settings below them."""
    groups = [match for word in words if (match := _GROUP.fullmatch(word))]
    keys = [f"{match[1]}={match[2]}" for word in words if (match := _KEY.fullmatch(word))]
    # An `override` of a package that is relative to the file's own.
    defaults: list[Any] = ["pretrained", *({f"override /{m[1]}@{m[2]}": m[3]} for m in groups), "_self_"]
    settings = OmegaConf.to_container(OmegaConf.from_dotlist(keys))
    assert isinstance(settings, dict)
    head = f"# A run that is trained first: {' '.join(words)}.\n"
    return head + yaml.safe_dump({"defaults": defaults, **settings}, sort_keys=False)


def _is_sweep(word: str) -> bool:
    """Several values, which would need several files."""
    value = word.partition("=")[2]
    return "," in value and value[0] not in "[{'\""


def _data_set(words: Sequence[str]) -> str:
    chosen = (match[3] for word in words if (match := _GROUP.fullmatch(word)) and match[2] == "dataset")
    return re.sub(r"\W+", "_", next(chosen, "shapes_source"))


def _write(path: Path, content: str) -> None:
    if path.exists() and path.read_text(encoding="utf-8") != content:
        raise UserError(f"{path} is in the way of the file that this study needs: move it, or name it among source=…")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
