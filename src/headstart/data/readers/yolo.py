"""YOLO txt: `images/<split>` beside `labels/<split>`, `<split>/images` beside `<split>/labels`, or all in one folder.

Which folders are which split stands in a data.yaml, or in the folders' names. An image without a label file shows
nothing: a negative. Class names come from a data.yaml, a classes.txt, or `dataset.class_names`, in this order;
without any they are `class0`, `class1`, ….
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from headstart.config.checks import dataset_folder
from headstart.config.schema import YoloConfig
from headstart.data import splits
from headstart.data.readers import layout
from headstart.data.readers.common import RawData, RawImage, assemble, check_missing, relative_name
from headstart.data.types import Defect, DetectionData
from headstart.errors import UserError

LAYOUTS = "data.yaml, images/<split>/ + labels/<split>/, <split>/images/ + <split>/labels/, images/ + labels/"
_NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt", "labels/*/classes.txt", "*/labels/classes.txt")
_MOST, _LEAST = 1.5, -0.5
"""A box may leave the image a little, and is clipped then; beyond these shares the numbers are no shares at all."""


def read(config: YoloConfig) -> DetectionData:
    """Every split in use; UserError names the file and the line that cannot be read."""
    root = dataset_folder(config)
    source = _data_yaml(root, config)
    found = {} if source.splits else _folders(root)
    raw = RawData(splits.choose(source.splits or found, config, lambda name: _labelled(name, source, root)))
    names = source.class_names or _names_file(root) or list(config.class_names)
    for split, paths in _paths_of(raw.chosen, root, source, found).items():
        raw.splits[split] = list(_read_split(split, paths, root, names, raw.defects))
    raw.class_names = names or _numbered(raw)
    return assemble(raw, root, config)


@dataclass
class _DataYaml:
    """What a data.yaml says, and nothing where there is none."""

    path: Path | None = None
    base: str = ""
    splits: dict[str, Any] = field(default_factory=dict)
    class_names: list[str] = field(default_factory=list)


def _data_yaml(root: Path, config: YoloConfig) -> _DataYaml:
    if config.data_yaml is not None:
        path = root / config.data_yaml
        if not path.is_file():
            raise UserError(f"dataset.data_yaml={config.data_yaml}: {path} does not exist.")
        return _parse_yaml(path) or _no_names(path)
    paths = sorted(root.glob("*.y*ml")) or sorted(root.glob("*/*.y*ml"))
    found = [data for path in paths if (data := _parse_yaml(path)) is not None]
    if len(found) > 1:
        files = ", ".join(data.path.name for data in found if data.path)
        raise UserError(f"dataset.root={root}: several files name classes ({files}); say which: dataset.data_yaml=….")
    return found[0] if found else _DataYaml()


def _parse_yaml(path: Path) -> _DataYaml | None:
    """None where the file names no classes, so that it is about something else."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable YAML file ({error}).") from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict):
        names = _by_number(path, names)
    if not isinstance(names, list):
        return None
    found = {key: content[key] for key in splits.NAMES if content.get(key)}
    return _DataYaml(path, str(content.get("path") or ""), found, [str(name) for name in names])


def _by_number(path: Path, names: dict[Any, Any]) -> list[Any]:
    if sorted(names, key=str) != sorted(range(len(names)), key=str):
        raise UserError(
            f"{path}: names must be numbered 0 to {len(names) - 1} without gaps, not {sorted(names, key=str)}."
        )
    return [names[number] for number in range(len(names))]


def _no_names(path: Path) -> _DataYaml:
    raise UserError(f"{path}: has no list `names`, so it does not describe a YOLO data set.")


def _names_file(root: Path) -> list[str]:
    """Programs that write labels leave a list of the classes at the top, or in every folder of labels."""
    paths = [path for pattern in _NAME_FILES for path in sorted(root.glob(pattern))]
    found = [[line for _, line in layout.read_lines(path)] for path in paths]
    for path, names in zip(paths, found, strict=True):
        if names != found[0]:
            raise UserError(f"{paths[0]} and {path} name different classes: make them equal, or remove one.")
    return found[0] if found else []


def _paths_of(
    chosen: splits.Chosen, root: Path, source: _DataYaml, found: dict[str, list[Path]]
) -> dict[str, list[Path]]:
    """Our name of a split -> its image files; without those that have to be drawn."""

    def images(name: str) -> list[Path]:
        return _listed(name, source, root) if source.splits else found[name]

    paths = {ours: images(name) for ours, name in (("val", chosen.val), ("test", chosen.test)) if name is not None}
    if chosen.train != splits.ALL:
        return {"train": images(chosen.train), **paths}
    elsewhere = {path for part in paths.values() for path in part}
    return {"train": [path for path in _with_labels(root) if path not in elsewhere], **paths}


def _folders(root: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for path in _with_labels(root):
        split = layout.split_of(layout.key(path, root))
        if split is not None:
            found[split].append(path)
    return found


def _with_labels(root: Path) -> list[Path]:
    """All images in the folders where at least one image has a label file."""
    paths = [path for path in layout.files(root) if layout.is_image(path)]
    labelled = {path.parent for path in paths if _label_file(path) is not None}
    if not labelled:
        raise UserError(f"dataset.root={root}: no image with a label file ({len(paths)} images). Looked for {LAYOUTS}.")
    return [path for path in paths if path.parent in labelled]


def _labelled(split: str, source: _DataYaml, root: Path) -> bool:
    """Many a data.yaml names a split for testing whose labels, or images, are elsewhere; folders have labels."""
    if split not in source.splits:
        return True
    try:
        return any(_label_file(path) for path in _listed(split, source, root))
    except UserError:
        return False


def _listed(split: str, source: _DataYaml, root: Path) -> list[Path]:
    """Images of a split of the data.yaml: a folder, a txt file with a path on each line, or a list of these."""
    values = source.splits[split] if isinstance(source.splits[split], list) else [source.splits[split]]
    found: list[Path] = []
    for value in values:
        place = _resolve(str(value), split, source, root)
        if place.is_dir():
            found += [path for path in layout.files(place) if layout.is_image(path)]
        else:
            found += [_beside(place, line, root) for _, line in layout.read_lines(place)]
    if not found:
        raise UserError(f"{source.path}: {split}: {source.splits[split]}: no image there.")
    return found


def _resolve(value: str, split: str, source: _DataYaml, root: Path) -> Path:
    """`path` is often that of another machine, and Roboflow writes `../train/images` for `train/images`."""
    base = source.path.parent if source.path else root
    tried = [base / source.base / value, base / value, base / value.replace("../", "")]
    place = next((path for path in tried if path.exists()), None)
    if place is None:
        places = ", ".join(str(path) for path in dict.fromkeys(tried))
        raise UserError(f"{source.path}: {split}: {value} does not exist (tried {places}); correct it there.")
    return place


def _beside(list_file: Path, line: str, root: Path) -> Path:
    """A line of a list is relative to the list's folder, or to the data set's."""
    beside = list_file.parent / line
    return beside if beside.exists() else root / line


def _read_split(
    split: str, paths: list[Path], root: Path, names: list[str], defects: list[Defect]
) -> Iterator[RawImage]:
    missing = [relative_name(path, root) for path in paths if not path.is_file()]
    check_missing(split, root, missing, len(paths))
    defects += [Defect("missing_image", f"{name} ({split})", "skipped image") for name in missing]
    labels = {path: _label_file(path) for path in paths if path.is_file()}
    if not any(labels.values()):
        raise UserError(
            f"{root}: no image of the split {split} has a label file; {_label_places(paths[0])[0]} was looked for, and "
            "so on. Put the label files there."
        )
    for path, label_file in labels.items():
        yield _read_labels(path, label_file, root, names) if label_file else RawImage(path, relative_name(path, root))


def _label_file(image: Path) -> Path | None:
    return next((path for path in _label_places(image) if path.is_file()), None)


def _label_places(image: Path) -> list[Path]:
    """The last folder `images` of the path swapped for `labels`, then beside the image."""
    beside = image.with_suffix(".txt")
    parts = list(beside.parts)
    for i in reversed(range(len(parts) - 1)):
        if parts[i].lower() == "images":
            return [Path(*parts[:i], "labels", *parts[i + 1 :]), beside]
    return [beside]


def _read_labels(image: Path, path: Path, root: Path, names: list[str]) -> RawImage:
    raw = RawImage(image, relative_name(path, root), normalised=True)
    for number, line in layout.read_lines(path):
        values = _numbers(line.split(), path, number)
        label, (x, y, width, height) = values[0], values[1:]
        if label != int(label) or label < 0 or (names and label >= len(names)):
            known = f"; there are {len(names)} classes, numbered from 0" if names else ""
            raise UserError(f"{path}:{number}: class {label:g} does not exist{known}.")
        name = names[int(label)] if names else f"class{int(label)}"
        raw.add((x - width / 2, y - height / 2, x + width / 2, y + height / 2), name, f"line {number}")
    return raw


def _numbers(words: list[str], path: Path, number: int) -> list[float]:
    if len(words) != 5:
        raise UserError(
            f"{path}:{number}: {len(words)} values; a line holds five: class, x centre, y centre, width, height "
            "(polygons and scores are not read)."
        )
    try:
        values = [float(word) for word in words]
    except ValueError:
        raise UserError(f"{path}:{number}: {' '.join(words)!r} are not five numbers.") from None
    if not all(_LEAST <= value <= _MOST for value in values[1:]):
        raise UserError(
            f"{path}:{number}: {' '.join(words[1:])} are no shares of the image's width and height (0 to 1); divide "
            "pixels by the image's size."
        )
    return values


def _numbered(raw: RawData) -> list[str]:
    found: Iterable[str] = (name for raws in raw.splits.values() for image in raws for name in image.classes)
    highest = max((int(name.removeprefix("class")) for name in found), default=-1)
    return [f"class{number}" for number in range(highest + 1)]
