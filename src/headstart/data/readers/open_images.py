"""Open Images csv: `ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,…,IsGroupOf,…`, in shares.

The picture is `<ImageID>.jpg` or whatever its suffix. A name such as `/m/01g317` is turned into the one of
`class-descriptions*.csv` where there is one. `IsGroupOf` makes a crowd; `IsOccluded`, `IsTruncated`, `IsDepiction` and
`IsInside` are lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from headstart.config.checks import dataset_folder
from headstart.config.schema import OpenImagesConfig
from headstart.data.policy import Policy
from headstart.data.readers import layout, listed, tables
from headstart.data.readers.described import Described, describe
from headstart.data.readers.geometry import name_of, number, says
from headstart.data.types import DetectionData
from headstart.errors import UserError

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_NEEDED = ("imageid", "labelname", *_CORNERS)


def read(config: OpenImagesConfig, policy: Policy | None = None) -> DetectionData:
    """Every split in use; UserError names the file and the line that cannot be read."""
    root = dataset_folder(config)
    files = layout.files(root)
    descriptions = _descriptions([path for path in files if path.name.lower().startswith("class-descriptions")])
    names = {path.stem: path.name for path in files if layout.is_image(path)}

    def parse(path: Path, root: Path, policy: Policy) -> Iterator[Described]:
        return _parse(path, root, names, descriptions)

    return listed.read(config, policy, "csv of Open Images (ImageID, LabelName, XMin …)", _is_one, parse)


def _is_one(path: Path) -> bool:
    if path.suffix.lower() != ".csv" or path.name.lower().startswith("class-descriptions"):
        return False
    return set(_NEEDED) <= {*tables.load(path).header()}


def _descriptions(paths: list[Path]) -> dict[str, str]:
    """Id -> name, of all files; UserError where an id has two names."""
    found: dict[str, str] = {}
    for path in paths:
        table = tables.load(path)
        for line, fields in table.rows:
            if len(fields) != 2 or not all(field.strip() for field in fields):
                raise table.refuse(line, "a line has an id and a name.")
            name = found.setdefault(fields[0].strip(), fields[1].strip())
            if name != fields[1].strip():
                raise table.refuse(line, f"{fields[0]} is {fields[1]} here and {name} elsewhere; correct one.")
    return found


def _parse(path: Path, root: Path, names: dict[str, str], descriptions: dict[str, str]) -> Iterator[Described]:
    table = tables.load(path)
    header = table.header()
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        raise table.refuse(1, f"no column {missing[0]}, which a csv of Open Images has.")
    found: dict[str, Described] = {}
    for line, row in table.records(header):

        def refuse(why: str, line: int = line) -> UserError:
            return table.refuse(line, why)

        image = row.get("imageid", "")
        if not image:
            raise refuse("no ImageID; write it, or remove the line.")
        item = found.setdefault(image, describe(names.get(image, image), path, root))
        item.raw.normalised = True
        x1, y1, x2, y2 = (number(row.get(name), name, refuse) for name in _CORNERS)
        if max(x1, y1, x2, y2) > 2:
            raise refuse(f"({x1:g}, {y1:g}, {x2:g}, {y2:g}) are no shares of width and height (0 to 1).")
        label = name_of(row.get("labelname"), "LabelName", refuse)
        item.raw.add((x1, y1, x2, y2), descriptions.get(label, label), f"line {line}", crowd=says(row.get("isgroupof")))
    yield from found.values()
