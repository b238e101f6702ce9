"""What the files beside YOLO labels say: which images are in which split, and what the classes are called.

A data.yaml; darknet's and CVAT's `obj.data`, which names lists; lists alone (`train.txt`); a classes.txt or obj.names
at the top or beside the labels. Files that say different things are refused, unless `dataset.data_yaml` names one.
"""

from __future__ import annotations

import reprlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from headstart import limits
from headstart.config.schema import YoloConfig
from headstart.data import splits
from headstart.data.readers import layout
from headstart.data.readers.inside import Fence
from headstart.data.readers.layout import Tails
from headstart.data.readers.yaml_texts import Texts
from headstart.errors import UserError

_NAME_FILES = ("classes.txt", "obj.names", "_darknet.labels", "classes.names")
KIND = {name: names[0] for names in (splits.TRAIN_NAMES, splits.VAL_NAMES, splits.TEST_NAMES) for name in names}
_AUTOSPLIT = "autosplit_"
"""How Ultralytics calls the lists that it draws."""


@dataclass
class Source:
    """What a file says, and nothing where there is none."""

    path: Path | None = None
    base: str = ""
    splits: dict[str, list[str]] = field(default_factory=dict)
    """Split -> folders, and lists of files, as written."""
    class_names: list[str] = field(default_factory=list)
    names_from: Path | None = None


def find(fence: Fence, paths: Sequence[Path], config: YoloConfig) -> Source:
    """What describes the data set of the files `paths`."""
    root = fence.root
    if config.data_yaml is not None:
        path = root / config.data_yaml
        if not path.is_file():
            raise UserError(f"dataset.data_yaml={config.data_yaml}: {path} does not exist.")
        source = _parse(path, fence, paths) or _says_nothing(path)
        return source if source.class_names else _with_names(source, [], paths)
    found = [source for path in _descriptions(root, paths) if (source := _parse(path, fence, paths)) is not None]
    stating = [source for source in found if source.splits]
    if len(stating) > 1:
        files = " and ".join(str(source.path) for source in stating[:2])
        raise UserError(f"{files} both name splits: say which one to read with dataset.data_yaml=<file>.")
    source = stating[0] if stating else Source()
    return _with_names(_with_lists(source, root, paths), found, paths)


def _descriptions(root: Path, paths: Sequence[Path]) -> list[Path]:
    """At the top, or else one folder below."""
    known = [path for path in paths if path.suffix.lower() in (".yaml", ".yml", ".data")]
    top = [path for path in known if path.parent == root]
    return top or [path for path in known if path.parent.parent == root]


def _parse(path: Path, fence: Fence, paths: Sequence[Path]) -> Source | None:
    """None where the file is about something else."""
    return _parse_darknet(path, fence, paths) if path.suffix.lower() == ".data" else _parse_yaml(path)


def _parse_yaml(path: Path) -> Source | None:
    content = _load(path)
    names = content.get("names")
    stated = {key: _places(path, key, content[key]) for key in splits.NAMES if content.get(key) not in _NOTHING}
    if names in _NOTHING and not any(key in stated for key in splits.TRAIN_NAMES):
        return None
    class_names = [] if names in _NOTHING else _names(path, names)
    count = content.get("nc")
    if class_names and count is not None and count != str(len(class_names)):
        raise UserError(f"{path}: nc: {_short(count)}, but names has {len(class_names)} classes; correct one of them.")
    base = content.get("path", "")
    if not isinstance(base, str):
        raise UserError(f"{path}: path: {_short(base)} must be the path of a folder.")
    return Source(path, "" if base in _NOTHING else base, stated, class_names, path)


_NOTHING = (None, "", "~", "null", "Null", "NULL")


def _load(path: Path) -> dict[str, Any]:
    """Keys in small letters; every value as it is written: a class may be called off, no or 010."""
    try:
        content = yaml.load(limits.read_text(path, limits.SETTINGS_BYTES, "a data.yaml"), Loader=Texts)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path}: not a readable YAML file ({_said(error)}); correct it.") from error
    if content and not isinstance(content, dict) and path.stem.lower() == "data":
        raise UserError(f"{path}: has no keys; it must say train: …, val: … and names: […].")
    return {str(key).lower(): value for key, value in content.items()} if isinstance(content, dict) else {}


def _said(error: Exception) -> str:
    """In one line; yaml's own message has a picture of the place."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", "")
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else str(error)


def _names(path: Path, names: Any) -> list[str]:
    if isinstance(names, dict):
        numbers = [str(number) for number in range(len(names))]
        if {*names} != {*numbers}:
            raise UserError(
                f"{path}: names must be numbered 0 to {len(names) - 1} without gaps, not {_short([*names])}."
            )
        names = [names[number] for number in numbers]
    if not isinstance(names, list):
        raise UserError(
            f"{path}: names: {_short(names)} is a text; write a list, of one class as well, such as names: [cat]."
        )
    for number, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"{path}: names: class {number} is {_short(name)}; it must be a name.")
    return _unlike(path, names)


def _unlike(path: Path, names: list[str]) -> list[str]:
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise UserError(f"{path}: two classes are called {twice[0]!r}; each needs a name of its own.")
    return names


def _places(path: Path, key: str, value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in values):
        raise UserError(f"{path}: {key}: {_short(value)} must be a folder, a list of files, or several of these.")
    return values


_REPR = reprlib.Repr()
_REPR.maxlevel = 3  # of six, lists of lists make hundreds of thousands of characters


def _short(value: Any) -> str:
    """What a stranger's file holds may be endless."""
    text = _REPR.repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"


def _says_nothing(path: Path) -> Source:
    raise UserError(f"{path}: has no list `names` and no `train`, so it does not describe a YOLO data set.")


def _parse_darknet(path: Path, fence: Fence, paths: Sequence[Path]) -> Source | None:
    """Lines `key = value`; the paths in them are of the machine, or the archive, that they were written in."""
    lines = [line.partition("=") for _, line in layout.read_lines(path) if not line.startswith("#")]
    content = {key.strip().lower(): value.strip() for key, _, value in lines}
    stated = {key: [content[key]] for key in splits.NAMES if content.get(key)}
    if not stated and "names" not in content:
        return None
    source = Source(path, "", stated)
    if "names" in content:
        place = _elsewhere(content["names"], path.parent, fence, paths, str(path))
        if place is not None:
            source.class_names, source.names_from = _read_names(place), place
    return source


def _with_lists(source: Source, root: Path, paths: Sequence[Path]) -> Source:
    """Lists of images that are called after a split, where nothing else says what that is."""
    if source.path is not None and source.path.suffix.lower() != ".data":
        return source
    stated = {Path(value).name.lower() for values in source.splits.values() for value in values}
    kinds = {None, *(KIND[split] for split in source.splits)}
    found: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        split = path.stem.lower().removeprefix(_AUTOSPLIT)
        if KIND.get(split) in kinds or path.name.lower() in stated or not _is_list(path):
            continue
        found[split].append(str(path.relative_to(root)))
    together = {KIND.get(split) for split in (*found, *source.splits)}
    if len(together) == 1 and any(layout.split_of(layout.key(path, root)) for path in paths if layout.is_image(path)):
        return source  # a list of one split says nothing of the others, and the folders do
    return Source(source.path, source.base, {**found, **source.splits}, source.class_names, source.names_from)


def _is_list(path: Path) -> bool:
    if path.suffix.lower() != ".txt":
        return False
    first = limits.first_line(path)  # whatever else ends in .txt may be endless
    return layout.is_image(Path(first)) and all(layout.is_image(Path(line)) for _, line in layout.read_lines(path))


def _with_names(source: Source, found: Sequence[Source], paths: Sequence[Path]) -> Source:
    """With the names of the classes, which every file that names them must name alike."""
    said = [(other.names_from, other.class_names) for other in (source, *found) if other.class_names]
    files = [path for path in paths if path.name.lower() in _NAME_FILES or path.suffix.lower() == ".names"]
    said += [(path, names) for path in files if (names := _read_names(path))]
    for path, names in said:
        if names != said[0][1]:
            raise UserError(
                f"{said[0][0]} and {path} name different classes ({_short(said[0][1])} and {_short(names)}): make them "
                "equal, or remove one, or say which data.yaml counts with dataset.data_yaml=…."
            )
    source.class_names = said[0][1] if said else []
    return source


def _read_names(path: Path) -> list[str]:
    """A name a line; an empty line between them would move the numbers of those behind it."""
    lines = [*layout.read_lines(path)]
    for expected, (number, _) in enumerate(lines, start=1):
        if number != expected:
            raise UserError(
                f"{path}:{expected}: an empty line between the names of classes; remove it or name the class."
            )
    return _unlike(path, [line for _, line in lines])


def _elsewhere(value: str, base: Path, fence: Fence, paths: Sequence[Path], where: str) -> Path | None:
    beside = layout.beside(value, base, fence.root)
    is_file = beside is not None and beside.is_file()
    if beside is not None and is_file and fence.holds(beside):
        return beside
    fits = Tails((path.relative_to(fence.root).parts, path) for path in paths).find(value)
    if len(fits) > 1:
        raise UserError(f"{where}: {value} fits {fits[0]} and {fits[1]}; write the one it is.")
    if fits or beside is None or not is_file:
        return fits[0] if fits else None
    return fence.check(beside, f"{where}: names: {value}")
