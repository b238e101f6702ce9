"""Open Images csv: `ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,…,IsGroupOf,…`, in shares.

The picture is `<ImageID>.jpg` or whatever its suffix. A name such as `/m/01g317` is turned into the one of
`class-descriptions*.csv` where there is one. `IsGroupOf` makes a crowd; `IsOccluded`, `IsTruncated`, `IsDepiction` and
`IsInside` are lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from headstart.config.checks import dataset_folder
from headstart.config.schema import OpenImagesConfig
from headstart.data.policy import Policy
from headstart.data.readers import layout, listed, tables
from headstart.data.readers.found import Described, describe
from headstart.data.readers.geometry import name_of, number, says
from headstart.data.readers.layout import relative_name
from headstart.data.readers.listed import AnotherFormat
from headstart.data.readers.raw import Malformed
from headstart.data.types import DetectionData
from headstart.errors import UserError

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_NEEDED = ("imageid", "labelname", *_CORNERS)
_MOST = 2.0
"""A box may leave the picture a little, and is clipped then; beyond this share the numbers are no shares at all."""
_LINES_SHOWN = 3


def read(config: OpenImagesConfig, policy: Policy | None = None) -> DetectionData:
    """Every split in use; what cannot be read is reported with file and line."""
    files = layout.files(dataset_folder(config))
    descriptions = _descriptions([path for path in files if _is_description(path)])
    names: dict[str, list[str]] = defaultdict(list)
    for path in filter(layout.is_image, files):
        names[path.stem].append(path.name)

    def parse(path: Path, root: Path, policy: Policy) -> Iterator[Described]:
        return _parse(path, root, names, descriptions, policy)

    return listed.read(config, policy, "csv of Open Images (ImageID, LabelName, XMin …)", _may_be, parse)


def _may_be(path: Path) -> bool:
    return path.suffix.lower() == ".csv" and not _is_description(path)


def _is_description(path: Path) -> bool:
    return path.name.lower().startswith("class-descriptions")


def _descriptions(paths: list[Path]) -> dict[str, str]:
    """Id -> name, of all files; UserError with all lines that are none, or give an id a second name."""
    found: dict[str, str] = {}
    wrong: list[str] = []
    for path in paths:
        try:
            rows = tables.load(path).rows
        except Malformed as error:
            raise UserError(f"{path}: {error}.") from error
        for line, fields in rows:
            if len(fields) != 2 or not all(field.strip() for field in fields):
                wrong.append(f"{path}: line {line}: a line has an id and a name")
                continue
            key, said = (field.strip() for field in fields)
            if found.setdefault(key, said) != said:
                wrong.append(f"{path}: line {line}: {key} is {said} here and {found[key]} elsewhere")
    if wrong:
        more = f"; and {len(wrong) - _LINES_SHOWN} more" if len(wrong) > _LINES_SHOWN else ""
        raise UserError(f"{'; '.join(wrong[:_LINES_SHOWN])}{more}. Correct the names of the classes.")
    return found


def _parse(
    path: Path, root: Path, names: dict[str, list[str]], descriptions: dict[str, str], policy: Policy
) -> Iterator[Described]:
    table = tables.load(path)
    header = table.header()
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        raise AnotherFormat(f"line 1: no column {missing[0]}, which a csv of Open Images has")
    take = partial(_take, names=header, descriptions=descriptions)
    found: dict[str, Described] = {}
    for line, image, fields in table.by_picture(header, "imageid", relative_name(path, root), policy):
        item = found.get(image)
        if item is None:
            fits = [*dict.fromkeys(names.get(image, [image]))]
            item = found[image] = describe(fits[0], path, root, take=take)
            item.raw.normalised = True
            if len(fits) > 1:
                item.faults.append(("ambiguous_image", f"ImageID {image} fits {len(fits)} pictures: {', '.join(fits)}"))
        item.objects.append((f"line {line}", fields))
    yield from found.values()


def _take(
    item: Described, place: str, written: Any, policy: Policy, names: list[str], descriptions: dict[str, str]
) -> None:
    row = tables.record(written, names)
    x1, y1, x2, y2 = (number(row.get(name), name) for name in _CORNERS)
    if max(x1, y1, x2, y2) > _MOST:
        item.report("not_shares", place, f"({x1:g}, {y1:g}, {x2:g}, {y2:g})", policy)
        return
    label = name_of(row.get("labelname"), "LabelName")
    item.raw.add((x1, y1, x2, y2), descriptions.get(label, label), place, crowd=says(row.get("isgroupof")))
