"""`headstart <verb> --help [group]`: written from the comments in conf/ and the docstrings of the schemas.

Hydra's own help lists the names alone, our schemas among them, and takes four seconds for it.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import MISSING

from headstart.config import schema, schemas
from headstart.config.verbs import ABOUT, EXAMPLES, GROUPS, OF_VERBS, ROOTS
from headstart.errors import UserError


def help_text(verb: str, group: str | None, folders: Sequence[Path]) -> str:
    """The page for a verb, or for one of its groups; `folders` hold groups, ours first.

    Raises `UserError` for a group there is not.
    """
    if group is None:
        return "\n".join(_verb_page(verb, folders))
    known = _groups(verb)
    if group not in known:
        raise UserError(f"--help {group}: headstart {verb} has {', '.join(known) or 'no groups'}.")
    return "\n".join(_group_page(group, folders))


def _verb_page(verb: str, folders: Sequence[Path]) -> Iterator[str]:
    yield f"headstart {verb}: {ABOUT[verb]}\n"
    groups = _groups(verb)
    if any(group in GROUPS for group in groups):
        yield f"group=choice chooses, group.setting=value sets; headstart {verb} --help <group> has the settings."
        for group in (group for group in groups if group in GROUPS):
            yield f"\n{group}: {GROUPS[group]}"
            yield from _choices(group, folders, brief=True)
        yield "\nSettings in no group"
    else:
        yield "Settings"
    yield from _settings(ROOTS[verb], skip=groups)
    nodes = [name for name in schemas.NODES if name in groups]
    yield from (f"  {name}.…: headstart {verb} --help {name}" for name in nodes)
    yield f"\nExamples\n{EXAMPLES[verb]}"


def _groups(verb: str) -> list[str]:
    """Groups and nodes that the configuration of a verb has."""
    return [*GROUPS, *schemas.NODES] if verb == "train" else [*OF_VERBS.get(verb, ())]


def _group_page(group: str, folders: Sequence[Path]) -> Iterator[str]:
    if group in GROUPS:
        yield f"{group}: {GROUPS[group]}\n"
        yield from _choices(group, folders, brief=False)
    seen: set[type] = set()
    for node, schema_class in _schemas(group):
        for cls in reversed(schema_class.__mro__):
            if dataclasses.is_dataclass(cls) and cls not in seen:
                seen.add(cls)
                lines = list(_settings(cls, own=True, prefix=f"{node}."))
                if lines:
                    yield from ("", *_wrapped(_class_doc(cls), ""), *lines)


def _class_doc(cls: type) -> str:
    written = inspect.getdoc(cls) or ""
    return f"{cls.__name__.removesuffix('Config')}:" if written.startswith(f"{cls.__name__}(") else written


def _schemas(group: str) -> list[tuple[str, type]]:
    """(node, schema) of what the group sets."""
    if group == "logger":
        inner = {"logger.wandb": schema.WandbConfig, "logger.tensorboard": schema.TensorBoardConfig}
        return [("logger", schema.LoggerConfig), *inner.items()]
    found = [schemas.NODES[group]] if group in schemas.NODES else schemas.SCHEMAS.get(group, {}).values()
    return [(group, schema_class) for schema_class in found]


def _choices(group: str, folders: Sequence[Path], brief: bool) -> Iterator[str]:
    paths = {path.stem: path for folder in folders for path in sorted((folder / group).glob("*.yaml"))}
    width = max((len(name) for name in paths), default=0)
    for name, path in sorted(paths.items()):
        about = _comment(path)
        yield from _wrapped(_first_sentence(about) if brief else about, f"  {name:{width}}  ")


def _comment(path: Path) -> str:
    """The comment a file begins with, without Hydra's package line."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(line for line in lines if not line.startswith("@package"))


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].rstrip(".:")


def _settings(cls: Any, own: bool = False, prefix: str = "", skip: Sequence[str] = ()) -> Iterator[str]:
    docs, hints = _field_docs(cls), get_type_hints(cls)
    names = [
        item
        for item in dataclasses.fields(cls)
        if item.name not in skip and (not own or item.name in inspect.get_annotations(cls))
    ]
    for item in names:
        hint = hints[item.name]
        about = " ".join(text for text in (docs.get(item.name), _members(hint)) if text)
        yield from _wrapped(about, f"  {prefix}{item.name}={_default(item)}  ", 8)


def _members(hint: Any) -> str:
    """Of an Enum: its members with the comments behind them."""
    if not (isinstance(hint, type) and issubclass(hint, Enum)):
        return ""
    found = re.findall(r"^    (\w+) = [^#\n]*(?:# (.*))?$", inspect.getsource(hint), re.MULTILINE)
    return f"[{'; '.join(f'{name}: {about}' if about else name for name, about in found)}]"


def _default(item: dataclasses.Field[Any]) -> str:
    value = item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
    if value is None:
        return "null"
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bool):
        return str(value).lower()
    return "…" if value == MISSING or value is dataclasses.MISSING or dataclasses.is_dataclass(value) else str(value)


def _field_docs(cls: type) -> dict[str, str]:
    """Field -> the string below it, of the class and those it inherits from."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            assert isinstance(tree, ast.ClassDef)
            for item, after in zip(tree.body, tree.body[1:], strict=False):
                if (
                    isinstance(item, ast.AnnAssign)
                    and isinstance(item.target, ast.Name)
                    and isinstance(after, ast.Expr)
                    and isinstance(after.value, ast.Constant)
                ):
                    docs[item.target.id] = str(after.value.value)
    return docs


def _wrapped(text: str, head: str, indent: int | None = None) -> list[str]:
    """`text` behind `head`; further lines below the text, or `indent` deep."""
    width = min(120, shutil.get_terminal_size((100, 24)).columns)
    below = " " * (len(head) if indent is None else indent)
    return textwrap.wrap(" ".join(text.split()), width, initial_indent=head, subsequent_indent=below) or [head.rstrip()]
