"""Pascal VOC xml with 0-based corners: `JPEGImages/<split>/`, `Annotations/<split>/`, `ImageSets/Main/<split>.txt`.

Cannot hold: crowds, areas of outlines, classes without an object, the order of classes. A class is a text in each
object, and readers sort what they find.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from headstart.data.types import AnnotatedImage, DetectionData
from headstart.data.writers.losses import Loss, Report, of_area, of_crowd, used_classes
from headstart.data.writers.pictures import Put, channels, named, put_all
from headstart.errors import UserError

_NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(data: DetectionData, folder: Path, report: Report, put: Put | None = None) -> None:
    """Writes `data` into the new or empty `folder`; UserError where a file cannot be read or written, or where two
    classes would have one name."""
    classes = _class_names(data.class_names, report)
    names = named(data, report)
    _report_losses(data, classes, report)
    places = {split: [folder / "JPEGImages" / split / name for name in names[split]] for split in names}
    put_all(data, places, put or Put())
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True, exist_ok=True)
    for split, pictures in data.splits.items():
        for image, name in zip(pictures, names[split], strict=True):
            path = folder / "Annotations" / split / name.with_suffix(".xml")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_annotation(image, split, name, classes))
        lines = [f"{split}/{name.with_suffix('')}\n" for name in names[split]]
        (lists / f"{split}.txt").write_text("".join(lines), encoding="utf-8")


def _annotation(image: AnnotatedImage, split: str, name: PurePosixPath, classes: Sequence[str]) -> bytes:
    top = Element("annotation")
    _add(top, "folder", (PurePosixPath("JPEGImages") / split / name).parent.as_posix())
    _add(top, "filename", name.name)
    size = SubElement(top, "size")
    for key, pixels in zip(("width", "height", "depth"), (*image.size_wh, channels(image)), strict=True):
        _add(size, key, str(pixels))
    _add(top, "segmented", "0")
    for box, label, ignored in zip(image.boxes_xyxy.tolist(), image.labels, image.ignore, strict=True):
        _add_object(top, classes[int(label)], box, bool(ignored))
    indent(top)
    return tostring(top, encoding="utf-8")


def _add_object(top: Element, name: str, box_xyxy: Sequence[float], difficult: bool) -> None:
    item = SubElement(top, "object")
    values = {"name": name, "pose": "Unspecified", "truncated": "0", "difficult": str(int(difficult))}
    for key, text in values.items():
        _add(item, key, text)
    corners = SubElement(item, "bndbox")
    for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box_xyxy, strict=True):
        # Other programs read whole numbers alone, where they can.
        _add(corners, key, str(int(value)) if value.is_integer() else repr(value))


def _add(parent: Element, key: str, text: str) -> None:
    SubElement(parent, key).text = text


def held_names(names: Sequence[str]) -> list[str]:
    """As xml can have them, and readers give them back: without control characters, and blanks at the ends."""
    return [_NOT_XML.sub("_", name).strip() for name in names]


def _class_names(names: Sequence[str], report: Report) -> list[str]:
    held = held_names(names)
    changed = [(name, new) for name, new in zip(names, held, strict=True) if name != new]
    for name, new in changed:
        if not new or Counter(held)[new] > 1:
            raise UserError(f"to=voc: xml cannot tell the class {name!r} from another; rename it before.")
    if changed:
        before, after = changed[0]
        report(Loss("class_name", len(changed), "names of classes", f"changed, such as {before!r} to {after!r}"))
    return held


def _report_losses(data: DetectionData, classes: Sequence[str], report: Report) -> None:
    of_crowd(data, "marked difficult: not learnt either, and scored by VOC's rule", report)
    of_area(data, report)
    used = used_classes(data)
    unused = [name for number, name in enumerate(classes) if number not in used]
    kept = [name for number, name in enumerate(classes) if number in used]
    remedy = "dataset.class_names brings them back"
    if unused:
        report(Loss("unused_class", len(unused), "classes without an object", f"left out; {remedy}"))
    if kept != sorted(kept):
        report(Loss("class_order", len(kept), "classes in an order of their own", f"are sorted when read; {remedy}"))
