"""YOLO txt: `images/<split>` beside `labels/<split>`, `<split>/images` beside `<split>/labels`, or all in one folder.

Which images are which split, and what the classes are called, stands in files beside them (`yolo_source.py`), or in the
folders' names. An image without a label file shows nothing: a negative, unless labels are left over or nothing of its
split is labelled, or `dataset.on.unlabelled_image` says otherwise. Without any names the classes are `class0`,
`class1`, ….
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from headstart import limits
from headstart.config.checks import dataset_folder
from headstart.config.kinds import Action
from headstart.config.schema import YoloConfig
from headstart.data import splits
from headstart.data.policy import Policy
from headstart.data.readers import formats, layout, yolo_labels, yolo_source
from headstart.data.readers.common import assemble, check_labelled, check_missing
from headstart.data.readers.inside import fence
from headstart.data.readers.layout import relative_name
from headstart.data.readers.raw import RawData, RawImage
from headstart.data.readers.units import Form
from headstart.data.readers.yolo_images import Stated
from headstart.data.readers.yolo_labels import Labels
from headstart.data.types import DetectionData
from headstart.errors import UserError

LAYOUTS = (
    "data.yaml, obj.data, train.txt, images/<split>/ + labels/<split>/, <split>/images/ + <split>/labels/, "
    "images/ + labels/"
)
_MOST, _LEAST = 1.5, -0.5
"""A box may leave the image a little, and is clipped then; beyond these shares the numbers are no shares at all."""


def read(config: YoloConfig, policy: Policy | None = None) -> DetectionData:
    """Every split in use; UserError names the file and the line that cannot be read."""
    root, policy = dataset_folder(config), policy or Policy(config.on)
    bounds = fence(root, config)
    paths = layout.files(root, bounds)
    labels = Labels(paths, bounds, policy)
    stated = Stated(yolo_source.find(bounds, paths, config), bounds, paths)
    found = {} if stated.source.splits else _folders(root, paths, labels)
    raw = RawData(
        splits.choose(stated.source.splits or found, config, lambda name: _labelled(name, stated, found, labels)),
        policy=policy,
        form=Form.centre,
    )
    names = stated.source.class_names or list(config.class_names)
    for split, images in _images_of(raw.chosen, root, paths, labels, stated, found).items():
        raw.splits[split] = list(_read_split(split, images, root, names, labels, policy))
    raw.class_names = names or _numbered(raw, policy)
    return assemble(raw, root, config)


def _images_of(
    chosen: splits.Chosen,
    root: Path,
    paths: list[Path],
    labels: Labels,
    stated: Stated,
    found: dict[str, list[Path]],
) -> dict[str, list[Path]]:
    """Our name of a split -> its image files; without those that have to be drawn."""

    def images(name: str) -> list[Path]:
        return stated.images(name) if stated.source.splits else found[name]

    given = {ours: images(name) for ours, name in (("val", chosen.val), ("test", chosen.test)) if name is not None}
    if chosen.train != splits.ALL:
        return {"train": images(chosen.train), **given}
    elsewhere = {path for part in given.values() for path in part}
    return {"train": [path for path in _with_labels(root, paths, labels) if path not in elsewhere], **given}


def _folders(root: Path, paths: list[Path], labels: Labels) -> dict[str, list[Path]]:
    """Folders without a label count where their whole split has none."""
    found: dict[str, list[Path]] = defaultdict(list)
    for images in (_with_labels(root, paths, labels), filter(layout.is_image, paths)):
        known = {*found}
        for path in images:
            split = layout.split_of(layout.key(path, root))
            if split is not None and split not in known:
                found[split].append(path)
    return found


def _with_labels(root: Path, paths: list[Path], labels: Labels) -> list[Path]:
    """All images in the folders where at least one image has a label file."""
    images = [path for path in paths if layout.is_image(path)]
    labelled = {path.parent for path in images if labels.of(path) is not None}
    if not labelled:
        left = f", {len(labels.left)} label files without an image" if labels.left else ""
        if images and labels.left:
            left += f", such as {relative_name(labels.left[0], root)}"
        raise UserError(
            f"dataset.root={root}: no image with a label file ({len(images)} images{left}). Looked for {LAYOUTS}."
            f"{layout.packed(paths)}{formats.hint(paths, YoloConfig)}"
        )
    return [path for path in images if path.parent in labelled]


def _labelled(split: str, stated: Stated, found: dict[str, list[Path]], labels: Labels) -> bool:
    """Many a data.yaml names a split for testing whose labels, or images, are elsewhere."""
    try:
        images = found[split] if split in found else stated.images(split)
    except UserError:
        return False
    return any(labels.of(path) for path in images)


def _read_split(
    split: str, paths: list[Path], root: Path, names: list[str], labels: Labels, policy: Policy
) -> Iterator[RawImage]:
    there = [path for path in paths if os.path.isfile(path)]  # Path.is_file raises where a name is too long
    missing = [relative_name(path, root) for path in paths if not os.path.isfile(path)]
    check_missing(split, root, missing, len(paths))
    for name in missing:
        policy.report("missing_image", f"{name}, listed for {split}", name)
    labels.check_names(split, there)
    files = {path: labels.of(path) for path in there}
    num_labelled = sum(file is not None for file in files.values())
    check_labelled(split, there, num_labelled, str(yolo_labels.place(paths[0])))
    for path, file in files.items():
        image = relative_name(path, root)
        if file:
            yield _read_labels(path, file, image, root, names, policy)
        elif policy.report("unlabelled_image", image, image) is not Action.skip_image:
            yield RawImage(path, image)


def _read_labels(image: Path, path: Path, name: str, root: Path, names: list[str], policy: Policy) -> RawImage:
    raw = RawImage(image, relative_name(path, root), normalised=True)
    for number, line in layout.read_lines(path):

        def report(kind: str, why: str, number: int = number) -> Action:
            return raw.take(policy.report(kind, f"{raw.where}:{number}: {why}", name))

        read = _read_line(line.split(), names, report)
        if read is not None:
            raw.add(read[1], read[0], f"line {number}")
    return raw


def _read_line(
    words: list[str], names: list[str], report: Callable[[str, str], Action]
) -> tuple[str, tuple[float, float, float, float]] | None:
    """Class and corners; None: not to be used."""
    try:
        label, *numbers = [float(word) for word in words]
    except ValueError:
        report("malformed_object", f"{_short(words)!r} are not five numbers")
        return None
    polygon = len(numbers) >= 6 and len(numbers) % 2 == 0
    if len(numbers) != 4 and not polygon:
        report("malformed_object", f"{len(words)} values; {_FIVE}")
        return None
    if polygon and report("polygon_line", f"{len(words)} values; {_FIVE}") is not Action.keep:
        return None
    if not (label.is_integer() and 0 <= label < (len(names) or limits.CLASSES)):
        known = f"; there are {len(names) or f'at most {limits.CLASSES:,}'} classes, numbered from 0"
        report("unknown_class", f"class {label:g} does not exist{known}")
        return None
    if any(not _LEAST <= value <= _MOST and math.isfinite(value) for value in numbers):
        report("not_shares", f"{_short(words[1:])} are no shares of the image's width and height; divide by its size")
        return None
    return names[int(label)] if names else f"class{int(label)}", _corners(numbers)


_FIVE = "a line holds five: class, x centre, y centre, width, height (scores are not read)"


def _short(words: Sequence[str]) -> str:
    text = " ".join(words[:6])
    return text if len(words) <= 6 and len(text) < 90 else f"{text[:90]} …"


def _corners(numbers: Sequence[float]) -> tuple[float, float, float, float]:
    """Of a centre and a size, or of all corners of a polygon."""
    if len(numbers) > 4:
        return min(numbers[0::2]), min(numbers[1::2]), max(numbers[0::2]), max(numbers[1::2])
    x, y, width, height = numbers
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _numbered(raw: RawData, policy: Policy) -> list[str]:
    found: Iterable[str] = (name for raws in raw.splits.values() for image in raws for name in image.classes)
    highest = max((int(name.removeprefix("class")) for name in found), default=-1)
    names = [f"class{number}" for number in range(highest + 1)]
    if names:
        policy.report("unnamed_classes", f"{', '.join(names[:3])}{', …' if len(names) > 3 else ''}: {_NAME_THEM}")
    return names


_NAME_THEM = "no data.yaml, classes.txt or obj.names says what they are called; dataset.class_names=[…] does, too"
