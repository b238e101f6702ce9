"""DOTA's labelTxt: a line for each object, eight numbers (four corners), its class, and whether it is difficult.

`x1 y1 x2 y2 x3 y3 x4 y4 class difficult`, below header lines (`imagesource:…`, `gsd:…`). The box is the one around
the corners, whatever the angle, as DOTA's own horizontal task has it; the area is that of the four corners.
`difficult` 1 and 2 (very small, in DOTA 1.5) are difficult.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from headstart.config.checks import dataset_folder
from headstart.config.schema import DotaConfig
from headstart.data.policy import Policy
from headstart.data.readers import formats, layout
from headstart.data.readers.coco_ids import number_of
from headstart.data.readers.described import conclude
from headstart.data.readers.found import Described
from headstart.data.readers.geometry import Point, enclose, is_upright, outline_area
from headstart.data.readers.per_picture import pair
from headstart.data.readers.raw import Malformed
from headstart.data.types import DetectionData
from headstart.errors import UserError

_HEADERS = ("imagesource", "gsd", "acquisition")
_LAYOUTS = "images/ + labelTxt/, <split>/images/ + <split>/labelTxt/, or txt files beside the pictures"
_LINE = "eight numbers, the class, and 0 or 1 for difficult"


def read(config: DotaConfig, policy: Policy | None = None) -> DetectionData:
    """Every split in use; what cannot be read is reported with file and line."""
    root, policy = dataset_folder(config), policy or Policy(config.on)
    paths = layout.files(root)
    labels = [path for path in paths if path.suffix.lower() == ".txt" and _is_label(path)]
    if not any(path.suffix.lower() == ".txt" for path in labels):
        raise UserError(
            f"dataset.root={root}: no label file of DOTA found (lines of {_LINE}). Looked for {_LAYOUTS}."
            f"{layout.packed(paths)}{formats.hint(paths, DotaConfig)}"
        )
    described = _without_strangers(list(pair(root, labels, policy, lambda path: "")), policy)
    for item in described:
        if item.labelled:
            item.take, item.objects = _take, [(f"line {number}", line) for number, line in _lines(item.file)]
    return conclude(described, root, config, policy)


def _is_label(path: Path) -> bool:
    """By its folder, or by its first line that is no header; an empty one is a negative's where others are labels."""
    if any(part.lower().startswith("labeltxt") for part in path.parts[-3:-1]):
        return True
    first = next((line for _, line in _lines(path)), "")
    words = first.split()
    return len(words) in (9, 10) and all(number_of(word) is not None for word in words[:8])


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in layout.read_lines(path):
        if not line.lower().startswith(_HEADERS):
            yield number, line


def _without_strangers(described: list[Described], policy: Policy) -> list[Described]:
    """DOTA's labels name no picture: those without one are reported, and refused where all are."""
    lost = [item for item in described if not (item.found or item.faults)]
    for item in lost:
        policy.report("label_without_image", item.raw.where)
    if len(lost) == len(described):
        raise UserError(
            f"{lost[0].file}: no picture of the name {lost[0].name}, nor of the {len(lost)} label files at all. Looked "
            f"for {_LAYOUTS}."
        )
    return [item for item in described if item.found or item.faults]


def _take(item: Described, place: str, line: str, policy: Policy) -> None:
    words = line.replace(",", " ").split()
    numbers = [value for word in words[:8] if (value := number_of(word)) is not None]
    if len(words) not in (9, 10) or len(numbers) < 8:
        raise Malformed(f"{line[:60]!r} is no object of DOTA; a line has {_LINE}")
    if len(words) == 10 and words[9] not in ("0", "1", "2"):
        raise Malformed(f"difficult is {words[9]!r}; it must be 0, 1 or 2")
    points: list[Point] = list(zip(numbers[::2], numbers[1::2], strict=True))
    if not is_upright(points) and item.drops("enclosing_box", place, words[8], policy):
        return
    difficult = len(words) == 10 and words[9] != "0"
    item.raw.add(enclose(points), words[8], place, difficult=difficult, area=outline_area(points))
